/** The server's HTTP API: requests, uploads, events and sockets. Every failure is an ApiError with words for people. */

/** What went wrong. `status` is HTTP's, or 0 where no answer came; `code` is the server's. */
export class ApiError extends Error {
  constructor(message, status = 0, code = "") {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
  }
}

const GONE = "The server doesn't answer. Is it still running?";

function errorOf(status, text) {
  try {
    const { error } = JSON.parse(text);
    return new ApiError(error.message, status, error.code ?? "");
  } catch {
    return new ApiError(`The server answered ${status} without saying why.`, status);
  }
}

/** The events of a Server-Sent-Events stream: {event, data}, data read as JSON. */
async function* readEvents(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split(/\r?\n\r?\n/);
      rest = blocks.pop();
      for (const block of blocks) {
        const lines = block.split(/\r?\n/);
        const after = (name) => lines.filter((l) => l.startsWith(name)).map((l) => l.slice(name.length).replace(/^ /, ""));
        const data = after("data:").join("\n");
        if (data) yield { event: after("event:")[0] ?? "message", data: JSON.parse(data) };
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

export class Api {
  /** Bearer token, where the server wants one. It is kept in this page's memory alone. */
  token = "";

  #headers(more = {}) {
    return this.token ? { Authorization: `Bearer ${this.token}`, ...more } : more;
  }

  async #fetch(method, path, { body, signal, keepalive } = {}) {
    const json = body === undefined ? {} : { "Content-Type": "application/json" };
    const options = { method, signal, keepalive, headers: this.#headers(json), body: body && JSON.stringify(body) };
    let response;
    try {
      response = await fetch(path, options);
    } catch (error) {
      throw signal?.aborted ? error : new ApiError(GONE);
    }
    if (!response.ok) throw errorOf(response.status, await response.text());
    return response;
  }

  /** The JSON that a request is answered with; null where the answer is empty. */
  async json(method, path, body, options = {}) {
    const response = await this.#fetch(method, path, { body, ...options });
    return response.status === 204 ? null : response.json();
  }

  /** Events as they come, after one named "open". `fetch` and not EventSource, which can't send a token. */
  async *events(method, path, { body, signal } = {}) {
    const response = await this.#fetch(method, path, { body, signal });
    yield { event: "open", data: null };
    try {
      yield* readEvents(response.body);
    } catch (error) {
      throw signal?.aborted || error instanceof ApiError ? error : new ApiError(GONE);
    }
  }

  /** Send a file; `onSent` is told the share that has left, from 0 to 1. `fetch` can't tell it. */
  upload(path, blob, onSent, signal) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", path);
      for (const [name, value] of Object.entries(this.#headers())) request.setRequestHeader(name, value);
      request.setRequestHeader("Content-Type", blob.type || "application/octet-stream");
      request.upload.onprogress = (e) => e.lengthComputable && onSent(e.loaded / e.total);
      request.onload = () => {
        if (request.status < 400) resolve(JSON.parse(request.responseText));
        else reject(errorOf(request.status, request.responseText));
      };
      request.onerror = () => reject(new ApiError(GONE));
      request.onabort = () => reject(signal.reason);
      signal?.addEventListener("abort", () => request.abort(), { once: true });
      request.send(blob);
    });
  }

  /** A WebSocket; the token goes along as a subprotocol, since a browser sends no headers here. */
  socket(path) {
    const url = new URL(path, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url, this.token ? ["speech-xl", `bearer.${this.token}`] : ["speech-xl"]);
    socket.binaryType = "arraybuffer";
    return socket;
  }
}
