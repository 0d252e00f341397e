/** How ratios look (a colour and a pattern each, so that no one needs to tell colours apart) and how one is chosen. */

import { draw, make } from "./dom.js";

// What is drawn on a tile of 8 x 8 over the ratio's colour, from the lowest ratio up.
const MARKS = [
  [],
  ["M-2 2l4-4M0 8l8-8M6 10l4-4"],
  ["M0 2h8M0 6h8"],
  ["M0 0l8 8M8 0l-8 8"],
  ["M2 2h.01M6 6h.01"],
  ["M2 0v8M6 0v8"],
];

let known = [];

/** Make the patterns of these ratios; `defs` is where they are kept. */
export function definePatterns(defs, ratios) {
  known = [...ratios].sort((a, b) => a - b);
  defs.replaceChildren(
    ...known.map((ratio) => {
      const tile = { id: `ratio-${ratio}`, width: 8, height: 8, patternUnits: "userSpaceOnUse", class: look(ratio) };
      const marks = MARKS[known.indexOf(ratio) % MARKS.length].map((d) => draw("path", { d, class: "mark" }));
      return draw("pattern", tile, draw("rect", { width: 8, height: 8, class: "ground" }), ...marks);
    }),
  );
}

/** The CSS class with a ratio's colour. */
export function look(ratio) {
  return `look-${Math.max(known.indexOf(ratio), 0) % MARKS.length}`;
}

export function fillOf(ratio) {
  return `url(#ratio-${ratio})`;
}

/** A small field in a ratio's colour and pattern, for beside its number. */
export function swatch(ratio) {
  return draw("svg", { class: "swatch", width: 16, height: 16, "aria-hidden": "true" },
    draw("rect", { width: 16, height: 16, rx: 3, fill: fillOf(ratio) }));
}

/** What a ratio keeps, in words. */
export function meaning(ratio) {
  return ratio === 1 ? "every frame is kept" : `one token is kept for every ${ratio} frames`;
}

/** "4x, then 16x". */
export function ratioWords(ratios) {
  return ratios.map((ratio) => `${ratio}x`).join(", then ");
}

/** Radio buttons for the ratio of one session. */
export function ratioChoice(letter, ratios, chosen, onChoose) {
  const choices = ratios.map((ratio) =>
    make("label", { class: "choice", title: meaning(ratio) },
      make("input", { type: "radio", name: `ratio-${letter}`, value: ratio, checked: ratio === chosen, onchange: () => onChoose(ratio) }),
      swatch(ratio), make("span", {}, `${ratio}x`)));
  return make("fieldset", { class: "choices" }, make("legend", { class: "unseen" }, `Ratio of ${letter}`), ...choices);
}
