/** The list of intervals with what was transcribed in each. One tab stop; arrow keys move, Enter plays from there. */

import { make } from "./dom.js";
import { clock } from "./format.js";
import { badge } from "./lane.js";
import { swatch } from "./ratios.js";

export const GOES_ON = "goes on"; // the text of an interval before
export const NO_WORDS = "no words";
export const NOT_YET = "not written yet";

/** The texts of intervals. What was said stands in the interval in which it begins, [text, true]; where nothing begins
 * the reason stands, [reason, false]. `ended`: no more pieces will come. */
export function textsOf(intervals, pieces, ended) {
  const texts = [];
  let next = 0;
  let until = 0;
  intervals.forEach((interval, i) => {
    const words = [];
    for (; next < pieces.length && pieces[next].start_seconds < interval.end_seconds; next++) {
      words.push(pieces[next].text);
      until = pieces[next].end_seconds;
    }
    const none = until > interval.start_seconds ? GOES_ON : ended || next < pieces.length ? NO_WORDS : NOT_YET;
    texts[i] = words.length ? [words.join(" "), true] : [none, false];
  });
  return texts;
}

const MOVES = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };

export class Timeline {
  /** `onPlay(seconds)` when an interval is chosen. */
  constructor(list, onPlay) {
    this.list = list;
    this.onPlay = onPlay;
    this.rows = [];
    this.current = 0; // the row that Tab reaches
    this.playing = null;
    list.addEventListener("keydown", (e) => this.#key(e));
    list.addEventListener("click", (e) => {
      const row = this.rows.findIndex(({ item }) => item.contains(e.target));
      if (row >= 0) this.#choose(row);
    });
  }

  clear() {
    this.rows = [];
    this.current = 0;
    this.playing = null;
    this.list.replaceChildren();
    this.list.hidden = true;
  }

  /** Bring the list up to date; `follow` scrolls with what is new, as long as the reader is at the end. */
  show(sessions, follow) {
    const count = Math.max(0, ...sessions.map((s) => s.intervals.length));
    if (count < this.rows.length) this.clear();
    const { list } = this;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
    list.hidden = !count;
    list.classList.toggle("two", sessions.length > 1);
    for (let i = this.rows.length; i < count; i++) this.#add(sessions.map((s) => s.intervals[i]).find(Boolean), i);
    const letters = sessions.map((s) => s.letter).join("");
    for (const session of sessions) {
      const texts = textsOf(session.intervals, session.pieces, session.ended);
      texts.forEach(([text, said], i) => this.#write(this.rows[i], session.letter, session.intervals[i].ratio, text, said, letters.length > 1));
    }
    for (const row of this.rows) {
      for (const [letter, cell] of row.cells) if (!letters.includes(letter)) this.#remove(row, letter, cell);
    }
    if (follow && atEnd) list.scrollTop = list.scrollHeight;
  }

  /** Mark the interval that is being played; null for none. */
  play(seconds) {
    const row = seconds === null ? null : this.rows.findIndex((r) => r.from <= seconds && seconds < r.to);
    if (row === this.playing) return;
    this.rows[this.playing]?.item.removeAttribute("aria-current");
    this.playing = row;
    const item = this.rows[row]?.item;
    item?.setAttribute("aria-current", "true");
    if (item && !this.list.contains(document.activeElement)) this.#reveal(item);
  }

  /** The row at a second becomes the chosen one. */
  select(seconds) {
    const row = this.rows.findIndex((r) => seconds < r.to);
    if (row >= 0) this.#move(row, false);
    if (row >= 0) this.#reveal(this.rows[row].item);
  }

  #reveal(item) {
    const { list } = this;
    if (item.offsetTop < list.scrollTop || item.offsetTop + item.offsetHeight > list.scrollTop + list.clientHeight) {
      list.scrollTop = item.offsetTop - list.clientHeight / 3;
    }
  }

  #add(interval, i) {
    const when = make("span", { class: "when numbers quiet" }, clock(interval.start_seconds));
    const item = make("li", { role: "option", "aria-selected": i === this.current ? "true" : "false", tabindex: i === this.current ? 0 : -1 }, when);
    this.rows.push({ item, cells: new Map(), from: interval.start_seconds, to: interval.end_seconds });
    this.list.append(item);
  }

  #write(row, letter, ratio, text, said, named) {
    const shown = row.cells.get(letter);
    if (shown && shown.text === text && shown.ratio === ratio && shown.named === named) return;
    const cell = make("span", { class: said ? "said" : "said none" }, ...(named ? [badge(letter), " "] : []), swatch(ratio),
      make("span", { class: "small numbers quiet at" }, `${ratio}x`), " ", make("span", { class: "words", dir: "auto" }, text));
    if (shown) shown.cell.replaceWith(cell);
    else row.item.insertBefore(cell, [...row.cells].find(([other]) => other > letter)?.[1].cell ?? null);
    row.cells.set(letter, { cell, text, ratio, named });
  }

  #remove(row, letter, { cell }) {
    cell.remove();
    row.cells.delete(letter);
  }

  #move(row, focus = true) {
    const [old, now] = [this.rows[this.current], this.rows[row]];
    old?.item.setAttribute("tabindex", "-1");
    old?.item.setAttribute("aria-selected", "false");
    this.current = row;
    now.item.setAttribute("tabindex", "0");
    now.item.setAttribute("aria-selected", "true");
    if (focus) now.item.focus();
  }

  #choose(row) {
    this.#move(row);
    this.onPlay(this.rows[row].from);
  }

  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || !this.rows.length) return;
    if (event.key === "Enter" || event.key === " ") this.#choose(this.current);
    else if (event.key in MOVES) this.#move(Math.min(Math.max(this.current + MOVES[event.key], 0), this.rows.length - 1));
    else return;
    event.preventDefault();
  }
}
