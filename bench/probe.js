// Times of a page that follows a stream, in milliseconds since its navigation began. It runs before all else.
"use strict";

const probe = (window.probe = { asked: null, first: null, done: null, stall: 0 });

const ask = window.fetch;
window.fetch = (...request) => {
  if (String(request[0]).includes("/events")) probe.asked ??= performance.now();
  return ask.apply(window, request);
};

let last = null;
const frame = () => {
  const now = performance.now();
  if (probe.asked !== null && probe.done === null) {
    if (last !== null) probe.stall = Math.max(probe.stall, now - Math.max(last, probe.asked));
    if (probe.first === null && document.querySelector("#report-rows tr > td")) probe.first = now;
  }
  last = now;
  requestAnimationFrame(frame);
};
requestAnimationFrame(frame);

// The end comes after all rows; two frames later they have been laid out and painted.
document.addEventListener("htmx:sse:close", () => {
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => {
    probe.stall = Math.max(probe.stall, performance.now() - last);
    probe.done = performance.now();
  })));
});
