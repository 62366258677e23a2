// The dialog that asks for the server's API key, which stays in this page's memory.

const dialog = document.getElementById("key-dialog");
const field = document.getElementById("key");

document.getElementById("close-key").addEventListener("click", () => dialog.close());

/** The key that was typed, or nothing where the dialog was closed. */
export function askForKey(wrong) {
  document.getElementById("key-wrong").hidden = !wrong;
  dialog.returnValue = field.value = "";
  dialog.showModal();
  field.focus();
  return new Promise((resolve) => {
    const closed = () => resolve(dialog.returnValue === "use" ? field.value.trim() : "");
    dialog.addEventListener("close", closed, { once: true });
  });
}
