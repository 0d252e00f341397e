/** Playing what was heard. */

import { showError } from "./messages.js";

export class Player {
  #file = null;

  /** `onSecond(seconds)` while it plays, null when it stops. */
  constructor(audio, onSecond) {
    this.audio = audio;
    audio.addEventListener("timeupdate", () => onSecond(audio.paused && !audio.currentTime ? null : audio.currentTime));
    audio.addEventListener("ended", () => onSecond(null));
    audio.addEventListener("emptied", () => onSecond(null));
    audio.addEventListener("error", () => {
      audio.hidden = true;
    });
  }

  /** Length in seconds; null where the browser can't tell. */
  get seconds() {
    return Number.isFinite(this.audio.duration) ? this.audio.duration : null;
  }

  get playing() {
    return !this.audio.paused;
  }

  /** What can be played from now on; null for nothing. */
  offer(file) {
    if (file === this.#file) return;
    this.#file = file;
    if (this.audio.src) URL.revokeObjectURL(this.audio.src);
    this.audio.hidden = !file;
    if (file) this.audio.src = URL.createObjectURL(file);
    else this.audio.removeAttribute("src");
    this.audio.load();
  }

  async playFrom(seconds) {
    const { audio } = this;
    if (!this.#file) return;
    if (audio.error) return showError("This browser can't play the file; it was heard all the same.");
    audio.currentTime = seconds;
    await audio.play().catch((error) => error.name === "AbortError" || showError(`It can't be played: ${error.message}`));
  }
}
