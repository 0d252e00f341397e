/** What people are told: errors that stay until they are settled or dismissed, and news for screen readers. */

import { byId, make } from "./dom.js";

const shown = new Map(); // key -> element

/** An error in plain words, with a remedy to click on where there is one: {label, act}. Shown once a key. */
export function showError(text, { key = text, remedy } = {}) {
  if (shown.get(key)?.firstChild.textContent === text) return;
  shown.get(key)?.remove();
  const close = () => settle(key);
  const buttons = [make("button", { type: "button", class: "plain", "aria-label": "Dismiss this message", onclick: close }, "×")];
  if (remedy) buttons.unshift(make("button", { type: "button", onclick: () => (close(), remedy.act()) }, remedy.label));
  const element = make("div", { class: "error" }, make("p", { dir: "auto" }, text), ...buttons);
  shown.set(key, element);
  byId("errors").append(element);
  element.scrollIntoView({ block: "nearest" });
}

/** This error is over. */
export function settle(key) {
  shown.get(key)?.remove();
  shown.delete(key);
}

export function settleAll() {
  for (const key of [...shown.keys()]) settle(key);
}

/** News that a screen reader says when it has time. */
export function announce(text) {
  byId("status").textContent = text;
}
