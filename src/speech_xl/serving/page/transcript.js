/** The transcript as a file: plain text, SubRip or WebVTT. */

function stamp(seconds, point) {
  const ms = Math.round(seconds * 1000);
  const [hours, minutes, rest] = [Math.floor(ms / 3600000), Math.floor(ms / 60000) % 60, Math.floor(ms / 1000) % 60];
  const two = (n) => String(n).padStart(2, "0");
  return `${two(hours)}:${two(minutes)}:${two(rest)}${point}${String(ms % 1000).padStart(3, "0")}`;
}

/** Texts on one line, with their times; what would be read as more than text is taken out by `clean`. */
function cues(segments, point, clean) {
  return segments.map(({ start_seconds: start, end_seconds: end, text }) => {
    const line = clean(text.trim().split(/\s+/).join(" "));
    return line && `${stamp(start, point)} --> ${stamp(Math.max(end, start + 0.001), point)}\n${line}\n`;
  }).filter(Boolean);
}

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** As the server writes them: segments to text. */
export const FORMATS = {
  txt: (segments) => `${segments.map((s) => s.text).join(" ")}\n`,
  srt: (segments) => cues(segments, ",", (text) => text.replaceAll("-->", "->")).map((cue, i) => `${i + 1}\n${cue}`).join("\n"),
  vtt: (segments) => ["WEBVTT\n", ...cues(segments, ".", escaped)].join("\n"),
};

/** Let the browser save a text under a name. */
export function save(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
