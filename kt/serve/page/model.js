// What is known of the model that answers: its version, its classes, and how good it was on its test pictures.

import { figure } from "./card.js";

const HEADLINES = {
  balanced_accuracy: "Balanced accuracy",
  accuracy: "Accuracy",
  roc_auc: "ROC-AUC",
  log_loss: "Log loss",
  calibration_error: "Calibration error",
};

const element = (id) => document.getElementById(id);
const isNumber = (value) => typeof value === "number";

/** Fill the head of the page and its section on the model. */
export function show(model) {
  const test = model.test ?? {};
  document.title = `${model.name}: ask about a picture`;
  element("name").textContent = model.name;
  tell("description", model.description);
  element("summary").textContent = `Version ${version(model)} · ${model.classes.length} classes`;
  element("rendered").hidden = !model.rendered;
  const headlines = Object.keys(HEADLINES).filter((name) => isNumber(test[name]));
  element("headlines").replaceChildren(...headlines.map((name) => headline(name, test)));
  tell("measured", headlines.length ? measured(test) : "It came without test figures.");
  element("facts").replaceChildren(...facts(model));
  element("about").hidden = false;
}

function tell(id, text) {
  element(id).textContent = text ?? "";
  element(id).hidden = !text;
}

/** The version with the labels that point to it, such as `3 (stable)`. */
function version({ version, labels }) {
  const own = Object.keys(labels ?? {}).filter((label) => labels[label] === version);
  return own.length ? `${version} (${own.join(", ")})` : `${version}`;
}

function headline(name, { [name]: value, intervals }) {
  const item = made("div", made("dt", HEADLINES[name]), made("dd", figure(value)));
  item.lastChild.className = "value";
  const interval = intervals?.[name];
  if (interval) item.append(made("dd", interval.map(figure).join(" to ")));
  item.children[2]?.classList.add("quiet");
  return item;
}

function measured({ images, intervals }) {
  const on = isNumber(images) ? ` on ${images.toLocaleString("en")} test pictures` : " on the test pictures";
  return `Measured once${on}${intervals ? ", with 95% bootstrap intervals" : ""}.`;
}

function facts(model) {
  const [height, width] = model.image_size;
  const list = made("ul", ...model.classes.map((name) => made("li", name)));
  list.className = "classes";
  list.setAttribute("role", "list");
  const others = (model.versions ?? []).filter((other) => other !== model.version);
  const rows = [
    ["Version", version(model)],
    ["Also served", others.length ? `version ${others.join(", ")}` : ""],
    ["Sees", `${width} × ${height} pixels`],
    ["Gives a label", labelling(model.decides ?? {})],
    ["Gives a set", sets(model.decides ?? {})],
    ["Classes", list],
  ];
  return rows.filter(([, value]) => value).flatMap(([name, value]) => [made("dt", name), made("dd", value)]);
}

/** From which scores on it gives a label; "" where it always does. */
function labelling({ thresholds = [], abstain_below = 0 }) {
  const own = thresholds.map(({ label, score }) => `${label} from ${score} on`);
  const others = own.length ? "others" : "";
  if (abstain_below) own.push(`${others || "any"} from ${abstain_below} on`);
  return own.length ? `${own.join(", ")}; otherwise it is unsure` : "";
}

function sets({ sets }) {
  if (!sets) return "";
  return `of classes, with the true one in it for ${+(sets * 100).toPrecision(6)}% of all pictures, and for fewer of the unsure ones`;
}

function made(tag, ...content) {
  const element = document.createElement(tag);
  element.append(...content);
  return element;
}
