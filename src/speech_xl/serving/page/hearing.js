/** One recording and the sessions that hear it: a file that is sent, or the microphone while it is on. */

import { ApiError } from "./api.js";
import { bytes } from "./format.js";
import { Microphone } from "./microphone.js";
import { Session } from "./session.js";

/** A session's live connection for PCM. What comes before it is open waits in it. */
class Feed {
  #waiting = [];

  constructor(api, session, rate, onFail) {
    this.socket = api.socket(`${session.path}/stream?rate=${rate}`);
    this.closed = new Promise((resolve) => this.socket.addEventListener("close", resolve));
    this.socket.addEventListener("open", () => this.#waiting.splice(0).forEach((data) => this.socket.send(data)));
    this.socket.addEventListener("message", ({ data }) => {
      const message = JSON.parse(data);
      if (message.error) onFail(new ApiError(message.error.message, 400, message.error.code));
    });
    this.socket.addEventListener("close", ({ wasClean, code }) => {
      if (!wasClean || code === 1011) onFail(new ApiError("The connection for the microphone broke off."));
    });
  }

  send(data) {
    if (this.socket.readyState === WebSocket.CONNECTING) this.#waiting.push(data);
    else if (this.socket.readyState === WebSocket.OPEN) this.socket.send(data);
  }

  end() {
    this.send(JSON.stringify({ type: "end" }));
    return this.closed;
  }
}

/** Whether it was the server that failed, and not the file. */
const isServers = ({ status }) => !status || status >= 500;

/** Emits "change" (anything to show), "trouble" ({detail: {error, session}}), "back" (trouble with the connection is over),
 * "heard" (a session has heard all) and "broken off" (the server went away before that). */
export class Hearing extends EventTarget {
  sessions = []; // open ones, A before B
  file = null; // what is heard, once it is whole
  name = "";
  microphone = null; // while it is on
  began = 0; // ms, when hearing began
  #feeds = new Map();
  #turn = 0; // of the recordings that were begun: what belongs to an older one is void

  constructor(api, limits) {
    super();
    this.api = api;
    this.limits = limits;
  }

  get active() {
    return Boolean(this.file || this.microphone);
  }

  /** Whether leaving the page loses something: what was heard, or is. */
  get precious() {
    return Boolean(this.microphone || this.sessions.length);
  }

  /** Whether the server went away before a session had heard all. */
  get brokenOff() {
    return this.sessions.some((s) => s.brokenOff);
  }

  /** Forget what was and hear a file, by a session for each [letter, ratio]. */
  async hearFile(file, wanted) {
    const most = this.limits.max_upload_bytes;
    if (file.size > most) throw new ApiError(`${file.name} has ${bytes(file.size)}. This server takes files of up to ${bytes(most)}.`, 413);
    if (!file.size) throw new ApiError(`${file.name} is empty.`, 400);
    const turn = await this.#begin(file.name);
    this.file = file;
    await Promise.all(wanted.map(([letter, ratio]) => this.#hear(letter, ratio, turn)));
  }

  /** Forget what was and hear the microphone until `stop`. */
  async record(wanted) {
    const microphone = await Microphone.open((piece) => {
      for (const feed of this.#feeds.values()) feed.send(piece);
      this.#changed();
    });
    const turn = await this.#begin("Microphone");
    this.microphone = microphone;
    this.#changed();
    await Promise.all(wanted.map(([letter, ratio]) => this.#feed(letter, ratio, turn)));
  }

  /** Switch the microphone off; returns when all was heard. */
  async stop() {
    const { microphone } = this;
    this.microphone = null;
    this.file = await microphone.close();
    this.#changed();
    const feeds = [...this.#feeds.values()];
    this.#feeds.clear();
    await Promise.all(feeds.map((feed) => feed.end()));
    await Promise.all(this.sessions.filter((s) => !s.ended).map((session) => this.#finish(session, () => session.end())));
  }

  /** One more session hears the same, or one hears it anew at another ratio. */
  async add(letter, ratio) {
    await this.drop(letter);
    await (this.microphone ? this.#feed(letter, ratio, this.#turn) : this.#hear(letter, ratio, this.#turn));
  }

  /** Send the file again to each session that was broken off; where the server is still gone, nothing changes. */
  async again() {
    await this.api.json("GET", "v1/limits");
    this.began = performance.now();
    await Promise.all(this.sessions.filter((s) => s.brokenOff).map((s) => this.add(s.letter, s.ratio)));
  }

  async drop(letter) {
    const session = this.sessions.find((s) => s.letter === letter);
    if (!session) return;
    this.sessions = this.sessions.filter((s) => s !== session);
    this.#feeds.delete(session);
    await session.forget();
    this.#changed();
  }

  /** The server and this page forget all of it. */
  async forget(leaving = false) {
    this.#turn++;
    const { microphone, sessions } = this;
    this.microphone = this.file = null;
    this.sessions = [];
    this.#feeds.clear();
    await Promise.all([microphone?.close(), ...sessions.map((s) => s.forget(leaving))]);
    this.#changed();
  }

  async #begin(name) {
    await this.forget();
    this.name = name;
    this.began = performance.now();
    return this.#turn;
  }

  async #open(letter, ratio, turn) {
    const session = await Session.open(this.api, letter, ratio);
    if (turn !== this.#turn) return session.forget();
    session.addEventListener("change", () => this.#changed());
    session.addEventListener("trouble", ({ detail }) => this.#trouble(detail, session));
    session.addEventListener("back", () => this.dispatchEvent(new Event("back")));
    this.sessions = [...this.sessions, session].sort((a, b) => a.letter.localeCompare(b.letter));
    this.#changed();
    return session;
  }

  async #hear(letter, ratio, turn) {
    const session = await this.#open(letter, ratio, turn);
    if (session) await this.#finish(session, () => session.hear(this.file));
  }

  async #feed(letter, ratio, turn) {
    const session = await this.#open(letter, ratio, turn);
    if (!session || !this.microphone) return;
    const feed = new Feed(this.api, session, this.microphone.rate, (error) => this.#lost(session, error));
    for (const piece of this.microphone.pieces) feed.send(piece);
    this.#feeds.set(session, feed);
    session.sent = 1;
  }

  /** A session hears no more of the microphone; when none does, it is switched off. */
  #lost(session, error) {
    this.#trouble(error, session);
    this.#feeds.delete(session);
    if (!this.#feeds.size && this.microphone) this.stop().catch(() => {});
  }

  /** Wait until a session has heard all; one that could hear nothing is forgotten. */
  async #finish(session, work) {
    try {
      await work();
      this.dispatchEvent(new CustomEvent("heard", { detail: session }));
    } catch (error) {
      if (error.name === "AbortError" || !this.sessions.includes(session)) return;
      if (isServers(error)) {
        session.breakOff();
        this.dispatchEvent(new Event("broken off"));
        if (!error.status) return;
        throw error;
      }
      if (!session.seconds) await this.drop(session.letter);
      if (!this.sessions.length) this.file = null;
      this.#changed();
      throw error;
    }
  }

  #trouble(error, session) {
    if (this.sessions.includes(session)) this.dispatchEvent(new CustomEvent("trouble", { detail: { error, session } }));
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
