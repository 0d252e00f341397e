/** The page: what is on it, wired to what is heard. */

import { Api } from "./api.js";
import { Chart, intervalTable } from "./chart.js";
import { byId, eachFrame, make } from "./dom.js";
import { bytes, clock, factor, spokenClock } from "./format.js";
import { Hearing } from "./hearing.js";
import { Lane } from "./lane.js";
import { announce, settle, settleAll, showError } from "./messages.js";
import { Player } from "./player.js";
import { definePatterns } from "./ratios.js";
import { Thread } from "./thread.js";
import { Timeline } from "./timeline.js";
import { FORMATS, save } from "./transcript.js";

const api = new Api();
const hearing = new Hearing(api, null);
const lanes = ["A", "B"].map((letter) => new Lane(byId(`lane-${letter.toLowerCase()}`), letter, { onRatio: changeRatio, onAgain: hearAgain }));
const player = new Player(byId("player"), hear);
const chart = new Chart(byId("chart-picture"), "chart-text", (seconds) => (timeline.select(seconds), player.playFrom(seconds)));
const timeline = new Timeline(byId("intervals"), (seconds) => player.playFrom(seconds));
const thread = new Thread(byId("thread"));

/** The second that is heard, for chart and timeline. */
function hear(seconds) {
  chart.play(seconds);
  timeline.play(seconds);
}

/** Tell what failed; a token that is missing is asked for. */
function report(error) {
  if (error.name === "AbortError") return;
  if (error.status === 401) return askToken(error.message);
  if (error.status) settle("gone"); // it answers
  showError(error.message, { key: error.status ? error.message : "gone", remedy: hearing.limits ? null : { label: "Try again", act: connect } });
}

/** Do something for the user: old errors are over, new ones are told, and what is still broken off stays told. */
async function act(work) {
  settleAll();
  try {
    await work();
  } catch (error) {
    report(error);
  }
  if (hearing.brokenOff) tellBrokenOff();
}

/** The server, or the way to it, was gone while something was heard: it has what it had saved before. */
function tellBrokenOff() {
  const text = `The server broke off before it had heard all of ${hearing.name}. Send it again when the server is back.`;
  showError(text, { key: "broken off", remedy: { label: "Send again", act: () => act(() => hearing.again()) } });
}

/** What the model can be asked for certain: its transcript. */
function suggest(text) {
  const use = () => {
    byId("question").value = text;
    byId("question").focus();
  };
  byId("suggestions").replaceChildren(make("button", { type: "button", class: "plain", onclick: use }, text));
}

function askToken(why) {
  byId("token-form").hidden = false;
  byId("token-why").textContent = why;
  byId("token").focus();
}

async function connect() {
  try {
    const limits = await api.json("GET", "v1/limits");
    byId("model").textContent = limits.model;
    hearing.limits = limits;
    definePatterns(document.querySelector("#patterns defs"), limits.ratios);
    const other = limits.ratios.find((r) => r > limits.default_ratio) ?? limits.ratios[0];
    lanes.forEach((lane, i) => (lane.offer(limits.ratios, i ? other : limits.default_ratio), lane.show()));
    byId("takes").textContent = `Speech in any usual audio or video file, up to ${bytes(limits.max_upload_bytes)} and ${spokenClock(limits.max_audio_seconds)}.`;
    suggest(limits.transcript_instruction);
    byId("token-form").hidden = true;
    for (const id of ["file", "record", "compare"]) byId(id).disabled = false;
    show();
  } catch (error) {
    report(error);
  }
}

const wanted = () => lanes.filter((lane) => lane.open).map((lane) => [lane.letter, lane.ratio]);

async function hearFile(file) {
  thread.clear();
  timeline.clear();
  await hearing.hearFile(file, wanted());
}

async function record() {
  if (hearing.microphone) return hearing.stop();
  byId("record").disabled = true; // until the browser has asked whether the microphone may be used
  await hearing.record(wanted()).finally(() => (byId("record").disabled = false));
  thread.clear();
  timeline.clear();
  announce("Recording.");
}

function changeRatio(lane, ratio) {
  if (lane.session && !lane.session.ended) act(() => lane.session.setRatio(ratio));
}

function hearAgain(lane) {
  act(() => hearing.add(lane.letter, lane.ratio));
  lane.root.querySelector("input:checked").focus();
}

function compare() {
  const lane = lanes[1];
  lane.root.hidden = !lane.root.hidden;
  byId("compare").setAttribute("aria-expanded", lane.open);
  byId("compare").textContent = lane.open ? "Stop comparing" : "Compare with another ratio";
  if (lane.open && hearing.active) act(() => hearing.add("B", lane.ratio));
  if (!lane.open) act(() => hearing.drop("B"));
  show();
}

let asking = false;

async function ask(question) {
  asking = true;
  show();
  byId("question").value = "";
  announce("Answering.");
  const answers = await thread.ask(question, hearing.sessions, report);
  announce(answers.map(([letter, text]) => (answers.length > 1 ? `${letter} answers: ${text}` : `Answer: ${text}`)).join(" "));
  asking = false;
  show();
}

/** How far hearing is: a share, or null where nobody can tell, and words for it. */
function progress() {
  const { microphone, sessions, began } = hearing;
  if (!sessions.length) return [null, microphone ? "waiting for the server" : ""];
  const reached = Math.min(...sessions.map((s) => s.reached));
  if (microphone) return [null, `recording ${clock(microphone.seconds)}, ${clock(reached)} in memory`];
  if (sessions.every((s) => s.ended)) return [1, `${clock(Math.min(...sessions.map((s) => s.seconds)))} heard`];
  if (hearing.brokenOff) return [1, `${clock(Math.min(...sessions.map((s) => s.seconds)))} heard, then broken off`];
  const sent = Math.min(...sessions.map((s) => (s.ending ? 1 : s.sent)));
  if (sent < 1) return [sent, `sending ${Math.round(sent * 100)} %`];
  if (sessions.every((s) => s.ending)) return [null, `${clock(sessions[0].seconds)} heard, writing the last of it down`];
  const total = sessions[0].total ?? player.seconds;
  if (!total || !reached) return [null, `${clock(reached)}${total ? ` of ${clock(total)}` : ""} heard`];
  const left = ((performance.now() - began) / 1000 / reached) * (total - reached);
  const wait = left < 90 ? `${Math.ceil(left)} s` : `${Math.round(left / 60)} min`;
  return [reached / total, `${clock(reached)} of ${clock(total)} heard, about ${wait} left`];
}

function showSource() {
  const { microphone, active, name } = hearing;
  byId("source").hidden = !active;
  byId("forget").hidden = !active;
  byId("record-label").textContent = microphone ? "Stop" : "Record";
  byId("record").classList.toggle("on", Boolean(microphone));
  byId("level").hidden = !microphone;
  byId("level").value = microphone?.level ?? 0;
  byId("source-name").textContent = name;
  const [share, words] = progress();
  byId("progress").hidden = Boolean(microphone) || share === 1;
  if (share === null) byId("progress").removeAttribute("value");
  else byId("progress").value = share;
  byId("progress-text").textContent = words;
  byId("remarks").textContent = hearing.sessions[0]?.remarks.join(" ") ?? "";
  player.offer(hearing.file);
}

/** The chart in one sentence. */
function chartWords(sessions) {
  const heard = sessions.filter((s) => s.intervals.length);
  if (!heard.length) return "Nothing was heard yet.";
  const each = heard.map((s) => `${s.letter} keeps ${bytes(s.kept)}; full attention would hold ${bytes(s.full)}, ${factor(s.kept, s.full)} as much`);
  return `After ${spokenClock(heard[0].intervals.at(-1).end_seconds)} of audio ${each.join(". ")}.`;
}

function showTable() {
  if (byId("table").open) document.querySelector("#table .scroll").replaceChildren(intervalTable(hearing.sessions));
}

function showDownloads() {
  const ready = hearing.sessions.filter((s) => s.ended && s.segments.length);
  const key = ready.map((s) => s.id).join();
  const row = byId("downloads");
  if (row.dataset.of === key) return;
  row.dataset.of = key;
  row.hidden = !ready.length;
  const stem = hearing.name.replace(/\.\w+$/, "");
  row.replaceChildren(...ready.flatMap((s) => [make("span", { class: "quiet" }, ready.length > 1 ? `Transcript ${s.letter}` : "Transcript"),
    ...Object.keys(FORMATS).map((kind) => make("button", { type: "button", class: "plain", "aria-label": `Save transcript ${s.letter} as ${kind}`,
      onclick: () => save(`${stem}.${s.letter}.${kind}`, FORMATS[kind](s.segments)) }, kind))]));
}

const show = eachFrame(() => {
  const { sessions } = hearing;
  for (const lane of lanes) {
    lane.session = sessions.find((s) => s.letter === lane.letter) ?? null;
    lane.show();
  }
  showSource();
  byId("lanes").classList.toggle("two", lanes[1].open);
  byId("chart").hidden = !sessions.length;
  chart.show(sessions, Math.max(0, ...sessions.map((s) => s.total ?? player.seconds ?? 0)));
  byId("chart-text").textContent = chartWords(sessions);
  timeline.show(sessions, !player.playing);
  byId("timeline-hint").textContent = sessions.some((s) => s.intervals.length) ? "Choose an interval to play from there." : "Each interval appears here with what was heard in it.";
  byId("ask-button").disabled = asking || !sessions.some((s) => s.seconds);
  showTable();
  showDownloads();
});
setInterval(() => hearing.active && hearing.sessions.some((s) => !s.ended) && show(), 1000); // the time that is left

function takeDrops() {
  const drop = byId("drop");
  const over = (is) => (e) => (e.preventDefault(), drop.classList.toggle("over", is));
  window.addEventListener("dragover", over(true));
  window.addEventListener("dragleave", over(false));
  window.addEventListener("drop", (e) => {
    over(false)(e);
    const [file] = e.dataTransfer.files;
    if (file && hearing.limits) act(() => hearFile(file));
  });
}

hearing.addEventListener("change", show);
hearing.addEventListener("trouble", ({ detail }) => report(detail.error));
hearing.addEventListener("back", () => settle("gone"));
hearing.addEventListener("broken off", tellBrokenOff);
hearing.addEventListener("heard", ({ detail: s }) => announce(`${s.letter} has heard all. ${chartWords([s])}`));
byId("file").addEventListener("change", ({ target }) => {
  const [file] = target.files;
  target.value = "";
  if (file) act(() => hearFile(file));
});
byId("record").addEventListener("click", () => act(record));
byId("compare").addEventListener("click", compare);
byId("forget").addEventListener("click", () => act(async () => {
  await hearing.forget();
  thread.clear();
  timeline.clear();
  announce("Forgotten.");
  byId("file").focus();
}));
byId("table").addEventListener("toggle", showTable);
byId("token-form").addEventListener("submit", (e) => {
  e.preventDefault();
  api.token = byId("token").value.trim();
  act(connect);
});
byId("ask").addEventListener("submit", (e) => {
  e.preventDefault();
  const question = byId("question").value.trim();
  if (question && !byId("ask-button").disabled) act(() => ask(question));
});
byId("question").addEventListener("keydown", (e) => {
  if (e.key !== "Enter" || e.shiftKey || e.isComposing) return;
  e.preventDefault();
  byId("ask").requestSubmit();
});
window.addEventListener("beforeunload", (e) => hearing.precious && e.preventDefault()); // the browser asks whether to leave
window.addEventListener("pagehide", () => hearing.forget(true));
window.addEventListener("pageshow", (e) => e.persisted && location.reload());
takeDrops();
connect();
