// The page: which model, which pictures, and an answer for each.

import { photograph } from "./camera.js";
import { Card } from "./card.js";
import { show } from "./model.js";
import { about, explain, predict } from "./server.js";

const AT_ONCE = 4; // So many pictures are asked about at the same time: the server puts them into one batch.
const TOLD = 3; // So many answers are read out one by one; of more, only their number.

const element = (id) => document.getElementById(id);

let models = [];
let cards = [];
let waiting = [];
let running = 0;

// ---- which model

async function load(chosen) {
  models = await about();
  if (!models.length) throw new Error("No model is served here yet.");
  const options = models.map(({ name }) => new Option(name, name, false, name === chosen));
  element("model").replaceChildren(...options);
  element("choice").hidden = models.length < 2;
  show(model());
}

const model = () => models[Math.max(element("model").selectedIndex, 0)];

element("model").addEventListener("change", () => show(model()));

// ---- which pictures

element("choose").addEventListener("click", () => element("files").click());
element("files").addEventListener("change", ({ target }) => {
  add([...target.files]);
  target.value = ""; // so that the same file can be chosen again
});

element("camera").addEventListener("click", async () => {
  problem("");
  try {
    const photo = await photograph();
    if (photo) add([photo]);
  } catch (error) {
    problem(error.message);
  }
});

document.addEventListener("paste", ({ clipboardData }) => {
  if (clipboardData?.files.length) add([...clipboardData.files]);
});

document.addEventListener("dragover", (event) => {
  event.preventDefault(); // or else the browser would leave the page for a photo that is dropped
  document.body.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  if (event.dataTransfer.files.length) add([...event.dataTransfer.files]);
  else problem("That was no file: save the picture first, then drop it here.");
});

element("clear").addEventListener("click", () => {
  waiting = [];
  for (const card of cards.splice(0)) card.remove();
  element("results").hidden = true;
  element("choose").focus();
});

// ---- an answer for each

function add(files) {
  problem("");
  const added = files.map((file) => new Card(file));
  const batch = { first: added[0], said: [], left: files.length, failed: 0 };
  cards.push(...added);
  element("cards").prepend(...added.map((card) => card.element));
  element("results").hidden = false;
  say(files.length === 1 ? `Asking about ${files[0].name}.` : `Asking about ${files.length} pictures.`);
  enqueue(added, batch);
}

function enqueue(added, batch) {
  waiting.push(...added.map((card) => ({ card, batch })));
  while (running < AT_ONCE && waiting.length) work();
}

async function work() {
  running += 1;
  while (waiting.length) {
    const { card, batch } = waiting.shift();
    batch.said.push(await ask(card, batch));
    batch.left -= 1;
    // On a small screen the answer would be below what is seen.
    if (card === batch.first) card.element.scrollIntoView({ block: "nearest" });
    if (!batch.left && cards.includes(card)) say(summary(batch)); // otherwise it was cleared meanwhile
  }
  running -= 1;
}

async function ask(card, batch) {
  card.wait("Asking …");
  try {
    if (!models.length) await load();
    await card.draw(model().image_size);
    const [answerer, answer] = await answered(await card.encoded());
    return card.answer(answerer, answer, (label) => look(card, answerer, label));
  } catch (error) {
    batch.failed += 1;
    const again = () => enqueue([card], { said: [], left: 1, failed: 0 });
    return card.fail(error.message, error.passing && again);
  }
}

/** Show in a card where the model that answered looks; its version may have been replaced meanwhile. */
async function look(card, answerer, label) {
  if (!card.look()) return;
  say(`Looking for what speaks for ${label} in ${card.file.name}.`);
  let told;
  try {
    told = card.map(await explain(answerer, await card.encoded(), label));
  } catch (error) {
    const gone = "The version that answered is no longer served; give the picture again.";
    told = card.noMap(error.status === 404 ? gone : error.message);
  }
  if (cards.includes(card)) say(told);
  else card.remove(); // it was cleared meanwhile
}

/** The model that answered, and its answer; a version that was replaced meanwhile is asked for by its new number. */
async function answered(encoded) {
  const asked = model();
  try {
    return [asked, await predict(asked, encoded)];
  } catch (error) {
    if (error.status !== 404) throw error;
    await load(asked.name);
    return [model(), await predict(model(), encoded)];
  }
}

function summary({ said, failed }) {
  if (said.length <= TOLD) return said.join("; ");
  return `${said.length - failed} of ${said.length} pictures answered.`;
}

function say(text) {
  element("news").textContent = text;
}

function problem(text) {
  element("problem").textContent = text;
  element("problem").hidden = !text;
}

load().catch((error) => problem(error.message));
