/** On the audio thread: samples of the microphone become PCM of 16 bits, sent on in pieces. */

const PIECE = 2048; // samples, 0.13 s at 16 kHz

class PCM extends AudioWorkletProcessor {
  #piece = new Int16Array(PIECE);
  #filled = 0;
  #open = true;

  constructor() {
    super();
    this.port.onmessage = () => {
      this.#send();
      this.#open = false;
      this.port.postMessage(null); // that was all
    };
  }

  #send() {
    const piece = this.#piece.slice(0, this.#filled);
    this.#filled = 0;
    if (piece.length) this.port.postMessage(piece, [piece.buffer]);
  }

  process([input]) {
    for (const sample of input[0] ?? []) {
      this.#piece[this.#filled++] = Math.max(-1, Math.min(1, sample)) * 32767;
      if (this.#filled === PIECE) this.#send();
    }
    return this.#open;
  }
}

registerProcessor("pcm", PCM);
