// A photo from the camera, in a dialog.

const dialog = document.getElementById("camera-dialog");
const viewfinder = document.getElementById("viewfinder");
const take = document.getElementById("take");

const PROBLEMS = {
  NotAllowedError: "This page may not use the camera: allow it in the browser’s settings for this site, or choose a photo.",
  NotFoundError: "No camera was found; choose a photo instead.",
  NotReadableError: "The camera is in use by another program; close that one and try again.",
};
let taken = 0;

document.getElementById("close-camera").addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => {
  for (const track of viewfinder.srcObject?.getTracks() ?? []) track.stop();
  viewfinder.srcObject = null;
});

/** A photo as a File, or nothing where the dialog was closed; an Error says in plain words why there is no camera. */
export async function photograph() {
  viewfinder.srcObject = await stream();
  dialog.showModal();
  take.focus();
  const wanted = await new Promise((resolve) => {
    take.onclick = () => resolve(true);
    dialog.addEventListener("close", () => resolve(false), { once: true });
  });
  const file = wanted ? await still() : null;
  dialog.close();
  return file;
}

async function stream() {
  if (!navigator.mediaDevices) {
    throw new Error("Browsers allow the camera only over https or on this machine itself (localhost); choose a photo instead.");
  }
  try {
    const video = { facingMode: "environment", width: { ideal: 1920 }, height: { ideal: 1080 } };
    return await navigator.mediaDevices.getUserMedia({ video });
  } catch (error) {
    throw new Error(PROBLEMS[error.name] ?? `The camera can’t be used (${error.message || error.name}); choose a photo instead.`);
  }
}

async function still() {
  const canvas = document.createElement("canvas");
  canvas.width = viewfinder.videoWidth;
  canvas.height = viewfinder.videoHeight;
  canvas.getContext("2d").drawImage(viewfinder, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
  return blob && new File([blob], `camera ${++taken}.jpg`, { type: blob.type });
}
