// What the page asks of the server: what is served, and the scores of a picture.
// Addresses are relative, so that the page also works where a proxy serves it below a path.

import { askForKey } from "./key.js";

const KEY_HEADER = "X-API-Key";

let key = "";
let asking = null;

/** An answer that is none: what the server said, with its status, which is 0 where it said nothing. */
export class Refusal extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }

  /** Whether the same question may be answered another time. */
  get passing() {
    return [0, 401, 408, 429].includes(this.status) || this.status >= 500;
  }
}

/** The models that are served. */
export async function about() {
  const { answer } = await request("about.json");
  return answer.models;
}

/** The prediction for one encoded picture (base64), and in how many milliseconds it came. */
export async function predict(model, encoded) {
  // By its version, so that a card never shows another version than the one that answered.
  const address = `v1/models/${encodeURIComponent(model.name)}/versions/${model.version}:predict`;
  const { answer, milliseconds } = await request(address, { instances: [{ image_bytes: { b64: encoded } }] });
  return { ...answer.predictions[0], milliseconds };
}

/** Where the model looks in an encoded picture (base64): what speaks for a class, with an overlay. */
export async function explain(model, encoded, label) {
  const address = `v1/models/${encodeURIComponent(model.name)}/versions/${model.version}:explain`;
  const { answer } = await request(address, { instances: [{ image_bytes: { b64: encoded } }], class: label });
  return answer.explanations[0];
}

async function request(address, body) {
  for (;;) {
    const sent = key;
    const started = performance.now();
    const response = await send(address, body, sent);
    const answer = await response.json().catch(() => ({}));
    const milliseconds = performance.now() - started;
    if (response.ok) return { answer, milliseconds };
    if (response.status !== 401) throw refusal(response, answer);
    if (sent === key) await newKey(sent !== ""); // otherwise another picture has brought one meanwhile
  }
}

async function send(address, body, sent) {
  const headers = sent ? { [KEY_HEADER]: sent } : {};
  if (body) headers["Content-Type"] = "application/json";
  try {
    return await fetch(address, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
  } catch {
    throw new Refusal("The server can’t be reached, or it closed the connection.", 0);
  }
}

function refusal(response, answer) {
  // Here each request is about one picture, whose card says which.
  const said = answer.error?.replace(/^image_bytes of picture 0 /, "This file ") ?? `The server answered ${response.status} ${response.statusText}`.trimEnd() + ".";
  return new Refusal(said, response.status);
}

/** Ask once for all requests that wait for a key. */
async function newKey(wrong) {
  asking ??= askForKey(wrong).finally(() => (asking = null));
  key = await asking;
  if (!key) throw new Refusal("This server asks for an API key.", 401);
}
