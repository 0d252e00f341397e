/** One session on the server: what it has heard, what it keeps, and what can be asked of it. */

import { ApiError } from "./api.js";

const UNHEARD = [400, 413]; // HTTP's status where it is the file that can't be heard
const RETRY_SECONDS = [1, 2, 4, 8];

/** Emits "change" when anything a reader could see has changed, "trouble" ({detail: ApiError}) when its events are lost,
 * and "back" when they come again. */
export class Session extends EventTarget {
  seconds = 0; // of audio heard
  total = null; // of audio sent, where it is known
  kept = 0; // bytes of the audio's KV
  full = 0; // bytes of KV that full attention would hold
  intervals = []; // as the server tells them, with `kept` and `full`: bytes held after each
  segments = [];
  words = []; // where the model times them
  remarks = []; // the server's about the file
  ended = false; // whether all audio was heard
  sent = 0; // share of the file that was uploaded
  brokenOff = false; // whether the server went away before it had heard all
  ending = false; // whether the last of it is being heard and written down
  #stop = new AbortController();

  constructor(api, letter, state) {
    super();
    this.api = api;
    this.letter = letter;
    this.id = state.id;
    this.#take(state);
    this.#follow();
  }

  static async open(api, letter, ratio) {
    return new Session(api, letter, await api.json("POST", "v1/sessions", { ratio, transcribe: true }));
  }

  /** The ratios that it heard at, in the order in which they came first; before the first interval, the one to come. */
  get ratios() {
    return this.intervals.length ? [...new Set(this.intervals.map((interval) => interval.ratio))] : [this.ratio];
  }

  /** Bytes that all intervals so far hold: {kept, full}. */
  get held() {
    return this.intervals.at(-1) ?? { kept: 0, full: 0 };
  }

  /** The second up to which all is in the memory. */
  get reached() {
    return this.intervals.at(-1)?.end_seconds ?? 0;
  }

  get path() {
    return `v1/sessions/${encodeURIComponent(this.id)}`;
  }

  /** Send a whole file; returns when all of it was heard. */
  async hear(file) {
    const sent = (share) => {
      this.sent = share;
      this.#changed();
    };
    const state = await this.api.upload(`${this.path}/audio`, file, sent, this.#stop.signal).catch((error) => {
      throw UNHEARD.includes(error.status) ? new ApiError(`${file.name}: ${error.message}`, error.status, error.code) : error;
    });
    this.remarks = state.remarks ?? [];
    await this.end();
  }

  /** The audio has ended; returns when the last of it was heard. */
  async end() {
    this.ending = true;
    this.#changed();
    this.#take(await this.api.json("POST", `${this.path}/end`, undefined, { signal: this.#stop.signal }));
  }

  /** Its file can't be heard to the end: the server went away. What it had saved is shown as soon as it is back. */
  breakOff() {
    this.brokenOff = true;
    this.#refresh(true);
    this.#changed();
  }

  /** Holds for the intervals that end later. */
  async setRatio(ratio) {
    await this.api.json("PATCH", this.path, { ratio }, { signal: this.#stop.signal });
    this.ratio = ratio;
    this.#changed();
  }

  /** Text as it comes, by `onPiece`; returns the whole answer. */
  async ask(question, onPiece) {
    const body = { question, stream: true };
    for await (const { event, data } of this.api.events("POST", `${this.path}/ask`, { body, signal: this.#stop.signal })) {
      if (event === "answer") return data;
      if (event === "error") throw new ApiError(data.error.message, 400, data.error.code);
      if (event === "delta") onPiece(data.text);
    }
    throw new ApiError("The answer broke off: the server closed the connection.");
  }

  /** The server forgets it. `leaving`: the page is being closed, nobody waits for an answer. */
  async forget(leaving = false) {
    this.#stop.abort(new DOMException("forgotten", "AbortError"));
    await this.api.json("DELETE", this.path, undefined, { keepalive: leaving }).catch(() => {});
  }

  /** Events until the session is forgotten; after a lost connection, again. */
  async #follow() {
    const signal = this.#stop.signal;
    for (let failures = 0; !signal.aborted; failures++) {
      try {
        for await (const message of this.api.events("GET", `${this.path}/events`, { signal })) {
          if (failures) this.dispatchEvent(new Event("back"));
          failures = 0;
          this.#heard(message);
        }
      } catch (error) {
        if (signal.aborted) return;
        this.dispatchEvent(new CustomEvent("trouble", { detail: error }));
        if (error.status >= 400 && error.status < 500) return;
      }
      const seconds = RETRY_SECONDS[Math.min(failures, RETRY_SECONDS.length - 1)];
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    }
  }

  #heard({ event, data }) {
    if (event === "interval") this.#add([data]);
    else if (event === "segments") this.#write(data);
    else if (event === "heard") this.#figures(data);
    else if (event === "open") this.#refresh(this.brokenOff); // a server that came back knows what it had saved
    else if (event === "error") this.#refresh(true); // the session is as it was before the request
    this.#changed();
  }

  async #refresh(anew = false) {
    const signal = this.#stop.signal;
    await this.api.json("GET", this.path, undefined, { signal }).then((state) => this.#take(state, anew), () => {});
  }

  /** A whole state as the server tells it. Events may have overtaken it; then it is too old, unless all begins `anew`. */
  #take(state, anew = false) {
    const older = state.intervals.length < this.intervals.length || (state.segments?.length ?? 0) < this.segments.length;
    if (older && !anew) return;
    this.intervals = [];
    this.segments = [];
    this.words = [];
    this.#add(state.intervals);
    this.#write(state);
    this.#figures(state);
    this.#changed();
  }

  /** Intervals that follow; what is known already is passed over. */
  #add(intervals) {
    for (const interval of intervals) {
      const last = this.intervals.at(-1) ?? { end_seconds: 0, kept: 0, full: 0 };
      if (interval.end_seconds <= last.end_seconds) continue;
      if (interval.start_seconds > last.end_seconds + 0.001) return this.#refresh(); // an event was missed
      this.intervals.push({ ...interval, kept: last.kept + interval.kept_kv_bytes, full: last.full + interval.full_kv_bytes });
    }
  }

  /** Segments and words that follow; what is known already is passed over. */
  #write({ segments, words }) {
    const after = this.segments.at(-1)?.start_seconds ?? -1;
    const fresh = (segments ?? []).filter((segment) => segment.start_seconds > after);
    if (!fresh.length) return;
    this.segments.push(...fresh);
    this.words.push(...(words ?? []).filter((word) => word.start_seconds > after));
  }

  /** What was said when, in the smallest pieces that there are: [{start_seconds, end_seconds, text}]. */
  get pieces() {
    if (!this.words.length) return this.segments;
    return this.words.map(({ start_seconds, word }) => ({ start_seconds, end_seconds: start_seconds, text: word }));
  }

  #figures(state) {
    this.ratio = state.ratio;
    this.seconds = state.audio_seconds_heard;
    this.kept = state.kept_kv_bytes;
    this.full = state.full_kv_bytes;
    this.ended = state.ended;
    this.total = state.total_seconds ?? this.total;
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
