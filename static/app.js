// The little that htmx and the server cannot do for a report's page. No markup is made here.
"use strict";

// A form with data-confirm opens its dialog first; without scripts it is sent at once.
document.addEventListener("submit", (event) => {
  const dialog = document.getElementById(event.target.dataset.confirm);
  if (dialog) {
    event.preventDefault();
    dialog.showModal();
  } else {
    event.target.closest("dialog")?.close();
  }
});

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-close]")) event.target.closest("dialog").close();
});

// WebKit knows a cell by its role only. On every cell it would cost a quarter more, so: once a block is seen.
const nameCells = (block) => { for (const cell of block.querySelectorAll("td")) cell.setAttribute("role", "cell"); };
document.addEventListener("contentvisibilityautostatechange", (event) => event.skipped || nameCells(event.target), true);
if (document.querySelector(".block")) nameCells(document.querySelector(".block"));

const troubles = new Map(); // who waits for an answer, the stream or the chunks, and what is said of it

function tell(who, what) {
  what ? troubles.set(who, what) : troubles.delete(who);
  const banner = document.getElementById("report-connection");
  const said = [...troubles.values()].at(-1);
  banner.hidden = !said;
  if (said) banner.firstElementChild.textContent = banner.dataset[navigator.onLine ? said : "offline"];
}

const stream = document.getElementById("report-stream");
if (stream) follow(stream);

function follow(stream) {
  const SILENCE = 40_000; // the server pings every 15 s: two pings missed and the line is dead
  const FRAME = 30; // a frame is yielded this often, or a thousand small messages would wait for one each
  const rows = document.getElementById("report-rows");
  const connection = () => stream._htmx?.sse;
  let watchdog, again, lastFrame = 0, ended = false, acting = false;

  const say = (what) => tell("stream", what);

  const alive = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => {
      say("lost");
      alive();
      connection() ? connection().reader?.cancel() : retry(); // none: what answered was not the stream
    }, SILENCE);
  };

  const retry = () => {
    clearTimeout(again);
    if (ended) return;
    if (connection()?.delayCanceller) connection().delayCanceller();
    else if (!connection()) htmx.trigger(stream, "retry");
  };

  stream.addEventListener("htmx:sse:before:message", (event) => {
    alive();
    acting = document.getElementById("report-actions").contains(document.activeElement);
    const { message, waitUntil } = event.detail;
    const chunk = !message.event && message.data.match(/data-chunk="(\d+)"/);
    // After a retry from the page's first position the server sends again what is here already.
    if (chunk && Number(chunk[1]) <= Number(rows.lastElementChild?.dataset.chunk ?? 0)) event.preventDefault();
    else if (performance.now() - lastFrame > FRAME) waitUntil(frame());
  });

  const frame = () => new Promise((resolve) => {
    const done = () => { lastFrame = performance.now(); resolve(); };
    document.hidden ? setTimeout(done) : requestAnimationFrame(() => setTimeout(done));
  });

  stream.addEventListener("htmx:sse:after:message", () => {
    const count = document.getElementById("report-progress").dataset.rowcount;
    document.getElementById("report-table").setAttribute("aria-rowcount", count);
    // Cancel becomes Run again: a person who was there stays there.
    if (acting && document.activeElement === document.body) document.querySelector("#report-actions button").focus();
  });

  stream.addEventListener("htmx:sse:after:connection", () => { say(null); alive(); });
  // A server that said that it restarts is not lost yet.
  stream.addEventListener("htmx:sse:error", () => document.getElementById("report-notice").textContent || say("lost"));
  stream.addEventListener("htmx:sse:close", (event) => {
    clearTimeout(watchdog);
    ended = event.detail.reason === "message";
    if (ended) say(null);
  });

  // The very first connection: htmx does not try again by itself.
  for (const name of ["htmx:error", "htmx:response:error"]) {
    stream.addEventListener(name, () => { say("refused"); again = setTimeout(retry, 3000); });
  }

  document.querySelector("#report-connection [data-retry]").addEventListener("click", retry);
  addEventListener("online", retry);
  addEventListener("offline", () => { if (!ended) { say("offline"); connection()?.reader?.cancel(); } });
  alive();
}
