/** Questions and their answers, an answer of each session side by side, written as its tokens come. */

import { make } from "./dom.js";
import { bytes, clock } from "./format.js";
import { badge } from "./lane.js";
import { ratioWords, swatch } from "./ratios.js";

/** What an answer was given from, in words. */
export function factsOf(answer) {
  const facts = [`heard ${clock(answer.audio_seconds_heard)}`, `kept ${bytes(answer.kept_kv_bytes)} of ${bytes(answer.full_kv_bytes)}`];
  if (answer.finished) facts.push("finished");
  const reached = answer.reached_seconds;
  const short = reached !== null && reached !== undefined && reached < answer.audio_seconds_heard;
  if (short) facts.push(`its timestamps reach ${clock(reached)}`);
  return facts;
}

const LONGEST = 400; // px of a text that is shown whole
let folded = 0;

export class Thread {
  constructor(root) {
    this.root = root;
  }

  clear() {
    for (const turn of [...this.root.querySelectorAll(".turn")]) turn.remove();
  }

  /** Ask all sessions; returns the finished texts, [[letter, text]], for who can't see them. Failures go to `onError`. */
  async ask(question, sessions, onError) {
    const answers = sessions.map((session) => this.#card(session, sessions.length > 1));
    const columns = make("div", { class: `answers ${sessions.length > 1 ? "two" : ""}` }, ...answers.map(({ card }) => card));
    const turn = make("article", { class: "turn" }, make("h3", { class: "asked", dir: "auto" }, question), columns);
    this.root.append(turn);
    this.root.scrollTop = turn.offsetTop - this.root.offsetTop - 8;
    const finished = await Promise.all(answers.map((answer) => this.#fill(answer, question, onError)));
    return finished.filter(Boolean);
  }

  #card(session, named) {
    const text = make("p", { class: "text", dir: "auto" });
    const facts = make("p", { class: "facts quiet small numbers" }, "answering");
    const { letter, ratios } = session;
    const from = make("p", { class: "from small" }, ...(named ? [badge(letter)] : []), ...ratios.map(swatch), ratioWords(ratios));
    const label = `Answer of ${letter} at ${ratioWords(ratios)}`;
    const card = make("section", { class: "answer", "aria-label": label, "aria-busy": "true" }, from, text, facts);
    return { session, card, text, facts, from };
  }

  /** Show the beginning of a long text, and all of it on demand. */
  #fold(text) {
    text.id = `answer-${++folded}`;
    text.classList.add("folded");
    const toggle = make("button", { type: "button", class: "plain small", "aria-expanded": "false", "aria-controls": text.id }, "Show all");
    toggle.addEventListener("click", () => {
      const open = !text.classList.toggle("folded");
      toggle.setAttribute("aria-expanded", open);
      toggle.textContent = open ? "Show less" : "Show all";
    });
    text.after(toggle);
  }

  async #fill({ session, card, text, facts }, question, onError) {
    const { root } = this;
    try {
      const answer = await session.ask(question, (piece) => {
        const atEnd = root.scrollHeight - root.scrollTop - root.clientHeight < 60;
        text.append(piece);
        if (atEnd) root.scrollTop = root.scrollHeight;
      });
      text.textContent = answer.text || "(an empty answer)";
      facts.textContent = factsOf(answer).join(" · ");
      if (text.scrollHeight > LONGEST) this.#fold(text);
      if (!answer.finished) facts.append(" · ", make("strong", { class: "warn" }, `cut after ${answer.new_tokens} tokens`));
      return [session.letter, answer.text];
    } catch (error) {
      facts.replaceChildren(make("strong", { class: "warn" }, "no answer"));
      if (error.name !== "AbortError") onError(error);
      return null;
    } finally {
      card.removeAttribute("aria-busy");
    }
  }
}
