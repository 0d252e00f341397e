/** The chart of KV bytes over seconds of audio, with a strip of intervals for each session below it, on one time axis. */

import { draw, make } from "./dom.js";
import { bytes, clock } from "./format.js";
import { fillOf, look } from "./ratios.js";

const LEFT = 62;
const RIGHT = 10;
const TOP = 14;
const PLOT = 190; // px, height of the plot
const STRIP = 16; // px, height of a strip of intervals
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];

/** A step for the axis of bytes, so that about four reach `count`: [bytes, words for a number of steps]. */
export function byteStep(count) {
  const power = Math.max(1, Math.floor(Math.log(Math.max(count, 1)) / Math.log(1024) + 1e-9));
  const quarter = Math.max(count, 1) / 4 / 1024 ** power;
  const size = 10 ** Math.floor(Math.log10(quarter));
  const step = size * [1, 2, 2.5, 5, 10].find((s) => s * size >= quarter * 0.999);
  const unit = bytes(1024 ** power).split(" ")[1];
  return [step * 1024 ** power, (n) => (n ? `${Number((n * step).toPrecision(3))} ${unit}` : "0")];
}

/** Runs of intervals of one ratio: [[ratio, first, last], ...]. */
export function runs(intervals) {
  const found = [];
  intervals.forEach(({ ratio }, i) => {
    const last = found.at(-1);
    if (last && last[0] === ratio) last[2] = i;
    else found.push([ratio, i, i]);
  });
  return found;
}

export class Chart {
  /** `onSeconds(seconds)` when a second is clicked. */
  constructor(root, describedBy, onSeconds) {
    this.root = root;
    this.describedBy = describedBy;
    this.sessions = [];
    this.total = 0;
    this.head = null; // second that is being played
    this.pointed = null; // second under the pointer
    root.addEventListener("click", (e) => {
      const seconds = this.#secondsAt(e);
      if (seconds !== null) onSeconds(seconds);
    });
    root.addEventListener("pointermove", (e) => this.#point(this.#secondsAt(e)));
    root.addEventListener("pointerleave", () => this.#point(null));
    new ResizeObserver(() => this.show()).observe(root);
  }

  /** Draw anew; sessions with their intervals, seconds the axis must reach. */
  show(sessions = this.sessions, total = this.total) {
    this.sessions = sessions;
    this.total = total;
    const width = this.root.clientWidth;
    if (!width) return;
    const heard = sessions.filter((s) => s.intervals.length);
    const seconds = Math.max(total, ...sessions.map((s) => s.seconds), 0) || 60;
    const fullest = heard.reduce((a, b) => (a && a.held.full > b.held.full ? a : b), null);
    const most = fullest ? (fullest.held.full * Math.max(seconds, 1)) / Math.max(fullest.reached, 1) : 1024 * 1024;
    const [step, tick] = byteStep(most);
    this.scale = { width, seconds, step, tick, steps: Math.ceil(most / step - 0.001), plot: width - LEFT - RIGHT };
    const height = TOP + PLOT + 26 + sessions.length * (STRIP + 8);
    const children = [...this.#axes(), ...(fullest ? this.#full(fullest) : [])];
    children.push(...[...heard].sort((a, b) => b.held.kept - a.held.kept).map((s) => this.#kept(s)));
    if (fullest) children.push(...this.#labels(fullest, heard));
    children.push(...sessions.flatMap((s, i) => this.#strip(s, TOP + PLOT + 28 + i * (STRIP + 8), sessions.length > 1)));
    this.cursor = draw("g");
    children.push(this.cursor);
    const picture = { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-labelledby": "chart-title", "aria-describedby": this.describedBy };
    this.root.replaceChildren(draw("svg", picture, ...children));
    this.#cursors(height);
  }

  /** Show which second is played; null for none. */
  play(seconds) {
    this.head = seconds;
    if (this.cursor) this.#cursors();
  }

  #x(seconds) {
    return LEFT + (seconds / this.scale.seconds) * this.scale.plot;
  }

  #y(count) {
    return TOP + PLOT - (count / this.scale.step / this.scale.steps) * PLOT;
  }

  #secondsAt(event) {
    if (!this.scale) return null;
    const x = event.clientX - this.root.getBoundingClientRect().left - LEFT;
    const seconds = (x / this.scale.plot) * this.scale.seconds;
    return seconds >= 0 && seconds <= this.scale.seconds ? seconds : null;
  }

  #axes() {
    const { width, seconds, plot, steps, tick } = this.scale;
    const lines = [];
    for (let n = 0; n <= steps; n++) {
      const y = this.#y(n * this.scale.step);
      lines.push(draw("line", { x1: LEFT, x2: width - RIGHT, y1: y, y2: y, class: n ? "grid" : "axis" }));
      lines.push(draw("text", { x: LEFT - 8, y: y + 4, class: "tick end" }, tick(n)));
    }
    const step = STEPS.find((s) => (s / seconds) * plot >= 64) ?? STEPS.at(-1);
    for (let at = 0; at <= seconds + 1e-6; at += step) {
      const place = at === 0 ? "tick" : this.#x(at) > width - 24 ? "tick end" : "tick middle";
      lines.push(draw("text", { x: this.#x(at) + (place === "tick end" ? RIGHT : 0), y: TOP + PLOT + 18, class: place }, clock(at)));
    }
    return lines;
  }

  #full(session) {
    const points = session.intervals.map((i) => `L${this.#x(i.end_seconds).toFixed(1)} ${this.#y(i.full).toFixed(1)}`);
    const line = `M${LEFT} ${TOP + PLOT}${points.join("")}`;
    const end = this.#x(session.reached);
    return [draw("path", { d: `${line}V${TOP + PLOT}H${LEFT}Z`, class: "full-area" }), draw("path", { d: line, class: "full-line" }),
      draw("circle", { cx: end, cy: this.#y(session.held.full), r: 3, class: "full-end" })];
  }

  /** The area of what one session keeps, in a piece for each run of a ratio. */
  #kept(session) {
    const { intervals } = session;
    const bottom = TOP + PLOT;
    const point = (seconds, count) => `${this.#x(seconds).toFixed(1)} ${this.#y(count).toFixed(1)}`;
    const pieces = runs(intervals).flatMap(([ratio, first, last]) => {
      const run = intervals.slice(first, last + 1);
      const line = [point(run[0].start_seconds, first ? intervals[first - 1].kept : 0), ...run.map((i) => point(i.end_seconds, i.kept))].join("L");
      const [from, to] = [run[0].start_seconds, run.at(-1).end_seconds].map((s) => this.#x(s).toFixed(1));
      return [
        draw("path", { d: `M${line}L${to} ${bottom}H${from}Z`, fill: fillOf(ratio) }),
        draw("path", { d: `M${line}`, class: `kept-line ${look(ratio)}` }),
      ];
    });
    return draw("g", { class: `kept-${session.letter.toLowerCase()}` }, ...pieces);
  }

  /** Figures at the ends of the lines: what is kept above all that is kept, full attention above its line. */
  #labels(fullest, heard) {
    const written = [...heard].sort((a, b) => a.held.kept - b.held.kept);
    const highest = this.#y(written.at(-1).held.kept) - 7;
    const kept = written.map((s, i) => [s, highest - i * 17, `${heard.length > 1 ? `${s.letter} keeps` : "kept"} ${bytes(s.held.kept)}`]);
    const top = Math.min(this.#y(fullest.held.full) - 9, kept.at(-1)[1] - 20);
    return [...kept, [fullest, Math.max(top, 11), `full attention ${bytes(fullest.held.full)}`]].map(([s, y, text]) => {
      const x = this.#x(s.reached) - 6;
      const room = text.length * 7.2; // px that it may need
      return draw("text", { x: Math.max(x, LEFT + 6 + room), y, class: "label end" }, text);
    });
  }

  #strip(session, y, named) {
    const { intervals } = session;
    const cells = runs(intervals).map(([ratio, first, last]) => {
      const from = this.#x(intervals[first].start_seconds);
      return draw("rect", { x: from, y, width: Math.max(this.#x(intervals[last].end_seconds) - from, 0.5), height: STRIP, fill: fillOf(ratio) });
    });
    const px = intervals.length ? this.#x(intervals[0].end_seconds) - LEFT : 0;
    if (px >= 5) {
      const d = intervals.slice(0, -1).map((i) => `M${this.#x(i.end_seconds).toFixed(1)} ${y}v${STRIP}`).join("");
      cells.push(draw("path", { d, class: "cut" }));
    }
    const frame = draw("rect", { x: LEFT, y, width: this.scale.plot, height: STRIP, rx: 2, class: "strip" });
    const name = draw("text", { x: LEFT - 8, y: y + 12, class: "tick end" }, named ? session.letter : "intervals");
    return [name, frame, ...cells];
  }

  #point(seconds) {
    this.pointed = seconds;
    if (this.cursor) this.#cursors();
  }

  /** The lines of what is played and of what is pointed at, with what was held at that second. */
  #cursors(height = Number(this.cursor.parentNode.getAttribute("height"))) {
    const line = (seconds, name) => draw("line", { x1: this.#x(seconds), x2: this.#x(seconds), y1: TOP, y2: height, class: name });
    const drawn = [];
    if (this.head !== null) drawn.push(line(this.head, "head"));
    if (this.pointed !== null) {
      drawn.push(line(this.pointed, "pointed"));
      const held = this.sessions.map((s) => [s, s.intervals.findLast((i) => i.end_seconds <= this.pointed)]).filter(([, i]) => i);
      const words = held.map(([s, i]) => `${s.letter} ${bytes(i.kept)}`);
      if (held.length) words.push(`full ${bytes(held[0][1].full)}`);
      drawn.push(draw("text", { x: LEFT + 6, y: 11, class: "label" }, [clock(this.pointed), ...words].join("  ·  ")));
    }
    this.cursor.replaceChildren(...drawn);
  }
}

/** A table of all intervals: when, at which ratio, and what was held after it. */
export function intervalTable(sessions) {
  const [first, ...others] = sessions;
  const head = ["Interval", ...sessions.flatMap((s) => [`Ratio ${s.letter}`, `Kept ${s.letter}, bytes`]), "Full attention, bytes"];
  const number = (n) => (n ?? 0).toLocaleString("en");
  const rows = (first?.intervals ?? []).map((interval, i) => {
    const cells = [interval, ...others.map((s) => s.intervals[i])].flatMap((x) => (x ? [`${x.ratio}x`, number(x.kept)] : ["", ""]));
    return make("tr", {}, make("th", { scope: "row" }, `${clock(interval.start_seconds)} to ${clock(interval.end_seconds)}`),
      ...[...cells, number(interval.full)].map((text) => make("td", {}, text)));
  });
  return make("table", {}, make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col" }, text)))), make("tbody", {}, ...rows));
}
