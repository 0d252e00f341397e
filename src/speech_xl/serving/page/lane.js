/** One session's row in "Memory": its letter, its ratio, and how much it keeps. */

import { make } from "./dom.js";
import { bytes, factor } from "./format.js";
import { meaning, ratioChoice, ratioWords } from "./ratios.js";

export class Lane {
  session = null;

  /** `onRatio(lane, ratio)` when another ratio is chosen, `onAgain(lane)` when all should be heard again at it. */
  constructor(root, letter, { onRatio, onAgain }) {
    this.root = root;
    this.letter = letter;
    this.onRatio = onRatio;
    this.kept = make("dd", { class: "numbers" });
    this.full = make("dd", { class: "numbers" });
    this.less = make("dd", { class: "numbers" });
    this.note = make("p", { class: "note quiet small" });
    this.again = make("button", { type: "button", hidden: true, onclick: () => onAgain(this) });
    this.choice = make("div");
    const figure = (name, value) => make("div", {}, make("dt", {}, name), value);
    const figures = [figure("kept", this.kept), figure("full attention", this.full), figure("smaller by", this.less)];
    const head = make("div", { class: "lane-head" }, badge(letter), make("span", { class: "alone quiet", "aria-hidden": "true" }, "Ratio"), this.choice, make("dl", { class: "figures" }, ...figures));
    root.append(head, make("div", { class: "row lane-foot" }, this.note, this.again));
  }

  /** The ratios there are, and the one to begin with. */
  offer(ratios, chosen) {
    this.ratio = chosen;
    this.choice.replaceChildren(ratioChoice(this.letter, ratios, chosen, (ratio) => {
      this.ratio = ratio;
      this.onRatio(this, ratio);
      this.show();
    }));
  }

  get open() {
    return !this.root.hidden;
  }

  show() {
    const { session, ratio } = this;
    const held = session?.intervals.length ? session : null;
    this.kept.textContent = held ? bytes(held.kept) : "–";
    this.full.textContent = held ? bytes(held.full) : "–";
    this.less.textContent = held ? factor(held.kept, held.full) : "–";
    this.again.hidden = !session?.ended || session.ratios.join() === String(ratio);
    this.again.textContent = `Hear all of it again at ${ratio}x`;
    if (session?.ended) this.note.textContent = `All was heard at ${ratioWords(session.ratios)}.`;
    else this.note.textContent = `At ${ratio}x ${meaning(ratio)}${session ? "; a change holds for intervals that end after it" : ""}.`;
  }
}

/** The letter that names a session. */
export function badge(letter) {
  return make("span", { class: `badge badge-${letter.toLowerCase()}` }, letter);
}
