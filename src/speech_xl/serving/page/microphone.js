/** Recording from the microphone, mono, PCM of 16 bits. */

const RATE = 16000; // Hz, what the models hear; a browser that can't resample the microphone gives its own rate

const REASONS = {
  NotAllowedError: "The microphone may not be used. Allow it in the browser's address bar, then record again.",
  NotFoundError: "No microphone was found.",
  NotReadableError: "The microphone can't be read; does another program use it?",
};

/** The microphone as a source in an audio context, at 16 kHz where the browser can. */
async function connect(stream) {
  for (const options of [{ sampleRate: RATE }, {}]) {
    const context = new AudioContext(options);
    try {
      return [context, context.createMediaStreamSource(stream)];
    } catch {
      await context.close();
    }
  }
  throw new Error("The browser can't read samples of the microphone.");
}

export class Microphone {
  pieces = []; // Int16Array, all that was recorded
  samples = 0;
  level = 0; // peak of the last piece, 0 to 1

  /** Ask for the microphone and begin; `onPiece(Int16Array)` gets the samples as they come. Errors are in plain words. */
  static async open(onPiece) {
    if (!navigator.mediaDevices) throw new Error("Browsers give the microphone only to pages from https or localhost.");
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
    } catch (error) {
      throw new Error(REASONS[error.name] ?? `The microphone can't be used: ${error.message}`);
    }
    const microphone = new Microphone();
    microphone.stream = stream;
    const [context, source] = await connect(stream);
    await context.audioWorklet.addModule("pcm_worklet.js");
    microphone.context = context;
    microphone.node = new AudioWorkletNode(context, "pcm", { channelCount: 1, channelCountMode: "explicit" });
    microphone.node.port.onmessage = ({ data }) => microphone.#take(data, onPiece);
    source.connect(microphone.node).connect(context.destination);
    return microphone;
  }

  get rate() {
    return this.context.sampleRate;
  }

  get seconds() {
    return this.samples / this.rate;
  }

  /** Stop; returns all that was recorded as a WAV file. */
  async close() {
    await new Promise((resolve) => {
      this.onLast = resolve;
      this.node.port.postMessage("stop");
    });
    for (const track of this.stream.getTracks()) track.stop();
    await this.context.close();
    return new File([header(this.samples, this.rate), ...this.pieces], "recording.wav", { type: "audio/wav" });
  }

  #take(piece, onPiece) {
    if (!piece) return this.onLast();
    this.pieces.push(piece);
    this.samples += piece.length;
    this.level = piece.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0) / 32768;
    onPiece(piece);
  }
}

/** The 44 bytes before PCM samples in a WAV file. */
function header(samples, rate) {
  const view = new DataView(new ArrayBuffer(44));
  const text = (at, letters) => [...letters].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + samples * 2, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, rate * 2, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, samples * 2, true);
  return view;
}
