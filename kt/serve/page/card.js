// A picture's card: the photo, what the model sees of it, and the answer, or why there is none.

const SHOWN = 5; // So many classes are shown at once; the others fold.
const COARSE = 128; // Below so many pixels a side, smoothing would hide what the model sees.

export const figure = (value) => value.toFixed(3);

export class Card {
  constructor(file) {
    this.file = file;
    this.element = copy("card");
    this.find("h3").textContent = this.find("h3").title = file.name;
  }

  find(selector) {
    return this.element.querySelector(selector);
  }

  /** The picture's bytes, as base64 text. */
  async encoded() {
    try {
      const address = await read(this.file);
      return address.slice(address.indexOf(",") + 1);
    } catch {
      throw new Error("This file can’t be read; it may be a folder, or too large.");
    }
  }

  /** Show the photo, and draw it as the model sees it: in its size, proportions not kept, on white, upright. */
  async draw([height, width]) {
    let bitmap;
    try {
      bitmap = await createImageBitmap(this.file, { imageOrientation: "from-image" });
    } catch {
      this.find(".views")?.remove(); // no picture, or of a kind that this browser can't show, such as TIFF
      return;
    }
    const photo = this.find(".photo");
    photo.src ||= URL.createObjectURL(this.file);
    photo.alt = `The photo ${this.file.name}`;
    const canvas = this.find("canvas");
    canvas.width = width;
    canvas.height = height;
    canvas.classList.toggle("coarse", Math.max(width, height) < COARSE);
    canvas.setAttribute("aria-label", `${this.file.name} as the model sees it, ${width} × ${height} pixels`);
    const context = canvas.getContext("2d", { alpha: false });
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, width, height);
    bitmap.close();
  }

  wait(text) {
    this.element.setAttribute("aria-busy", "true");
    this.find(".state").textContent = text;
    this.find(".state").hidden = false;
    this.find(".failure").hidden = true;
  }

  /**
   * Show the scores, the best first; the label is null where the model is not sure enough. `look` is called with a class by
   * the button that asks where the model looks. Returns the answer in a few words.
   */
  answer(model, { label, scores, classes, in_set, unfamiliar, milliseconds }, look) {
    const rows = classes.map((name, i) => ({ name, score: scores[i] })).sort((a, b) => b.score - a.score);
    const best = label === null ? null : rows.find((row) => row.name === label);
    const told = best ?? rows[0]; // whose score is shown, and which is explained
    const shown = rows.length > SHOWN + 1 ? SHOWN : rows.length;
    this.find(".label strong").textContent = label ?? "Unsure";
    this.find(".label .number").textContent = figure(told.score);
    this.find(".unsure").hidden = label !== null;
    const set = in_set && oneOf(classes.filter((_, i) => in_set[i]), model.decides.sets);
    this.find(".set").textContent = set ?? "";
    this.find(".set").hidden = !set;
    this.find(".looking").hidden = !model.explains;
    const choice = this.find(".class-asked select");
    choice.replaceChildren(...rows.map(({ name }) => new Option(name)));
    choice.value = told.name; // the first look is at what the answer says
    this.find(".look").onclick = () => look(choice.value);
    this.lookingIs(false);
    this.find(".unfamiliar").hidden = !unfamiliar;
    this.find(".scores").replaceChildren(...rows.slice(0, shown).map((row) => bar(row, row === best)));
    this.find("details").hidden = shown === rows.length;
    this.find("summary").textContent = `${rows.length - shown} more classes`;
    this.find("details .scores").replaceChildren(...rows.slice(shown).map((row) => bar(row, row === best)));
    this.find(".origin").textContent = `${model.name}, version ${model.version} · ${Math.round(milliseconds)} ms`;
    this.end(".answer");
    const warning = unfamiliar ? ", but unlike anything the model learned from" : "";
    const answer = label ?? `unsure, at best ${told.name}`;
    return `${this.file.name}: ${answer}, ${figure(told.score)}${set ? `. ${set}` : ""}${warning}`;
  }

  /** Show that the server looks for what speaks for a class; false if it does so already. */
  look() {
    if (this.find(".look").ariaDisabled) return false;
    this.lookingIs(true);
    this.find(".looking .error")?.remove();
    return true;
  }

  lookingIs(busy) {
    const button = this.find(".look");
    const first = this.find(".class-asked").hidden;
    button.textContent = busy ? "Looking …" : first ? "Where does it look?" : "Show it";
    button.setAttribute("aria-label", `${button.textContent} ${this.file.name}`);
    button.ariaDisabled = busy || null; // it keeps the focus, which a disabled one would lose
  }

  /** Show where the model looks, and offer the other classes. Returns that in words. */
  map({ label, in_words, overlay }) {
    const figure = copy("map");
    const picture = figure.querySelector("img");
    picture.src = URL.createObjectURL(new Blob([bytes(overlay.b64)], { type: "image/png" }));
    picture.alt = `${this.file.name}, in colour where it speaks for ${label}`;
    const text = `${label}: ${in_words}.`;
    figure.querySelector("figcaption").textContent = text;
    this.letGo(".map img");
    this.find(".map")?.remove();
    this.find(".looking").prepend(figure);
    this.find(".class-asked").hidden = false;
    this.lookingIs(false);
    return `${this.file.name}: ${text}`;
  }

  /** Show why there is no map, and let the button try again. Returns it in words. */
  noMap(message) {
    this.lookingIs(false);
    const failure = document.createElement("p");
    failure.className = "error";
    failure.textContent = message;
    this.find(".look").after(failure);
    return `${this.file.name}: ${message}`;
  }

  /** Show why there is no answer; `again` is called by a button where trying again may help. */
  fail(message, again) {
    const button = this.find(".again");
    this.find(".error").textContent = message;
    button.hidden = !again;
    button.onclick = () => {
      this.find("h3").focus(); // since the button goes
      again();
    };
    button.setAttribute("aria-label", `Try ${this.file.name} again`);
    this.end(".failure");
    return `${this.file.name}: ${message}`;
  }

  end(part) {
    this.find(".state").hidden = true;
    this.find(part).hidden = false;
    this.element.removeAttribute("aria-busy");
  }

  /** Let go of the photo and its map. */
  remove() {
    this.letGo("img[src]");
    this.element.remove();
  }

  letGo(pictures) {
    for (const picture of this.element.querySelectorAll(pictures)) URL.revokeObjectURL(picture.src);
  }
}

/** The set of classes in words; `share` is how often sets hold the true one. */
function oneOf(names, share) {
  const most = names.slice(0, -1).join(", ");
  return `Set for ${+(share * 100).toPrecision(6)}%: ${most && `${most} or `}${names.at(-1)}`;
}

function copy(template) {
  return document.getElementById(template).content.firstElementChild.cloneNode(true);
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

function bar({ name, score }, top) {
  const item = copy("score");
  item.classList.toggle("top", top);
  item.querySelector(".class").textContent = name;
  item.querySelector(".number").textContent = figure(score);
  item.querySelector(".bar span").style.setProperty("--score", Math.min(Math.max(score, 0), 1));
  return item;
}

function read(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
