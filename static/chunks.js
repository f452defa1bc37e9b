// The chunks of a report's table load when they are seen, and again if that failed; and what the page says of the line.
"use strict";

const troubles = new Map(); // who waits for an answer, the stream or the chunks, and what is said of it

function tell(who, what) {
  what ? troubles.set(who, what) : troubles.delete(who);
  const banner = document.getElementById("report-connection");
  const said = [...troubles.values()].at(-1);
  banner.hidden = !said;
  if (said) banner.firstElementChild.textContent = banner.dataset[navigator.onLine ? said : "offline"];
}

// Gives the function that loads what is looked at and not there.
function loading(scroller, rows) {
  const AGAIN = 3_000, LONG = 30_000;
  let again, long;
  const busy = () => [...rows.children].some((chunk) => chunk.matches(".htmx-request"));

  // Of several chunks that come near at once only the last one's request goes on (hx-sync): the others follow.
  const look = (event) => {
    const view = scroller.getBoundingClientRect();
    const gap = [...rows.children].find((chunk) => {
      const box = chunk.matches(".gap") && chunk.getBoundingClientRect();
      return box && box.bottom > view.top && box.top < view.bottom;
    });
    if (gap && (!busy() || event)) htmx.trigger(gap, "intersect"); // Retry, and the network that is back, do not wait
    else if (!gap) tell("chunks", null); // what failed is out of sight
  };

  const answered = () => { if (!busy()) long = clearTimeout(long); };
  rows.addEventListener("htmx:before:request", () => { long ??= setTimeout(() => tell("chunks", "lost"), LONG); });
  rows.addEventListener("htmx:finally:request", answered);
  for (const name of ["htmx:error", "htmx:response:error"]) {
    rows.addEventListener(name, (event) => {
      tell("chunks", "refused");
      clearTimeout(again);
      if (!(event.detail.ctx?.response?.status < 500)) again = setTimeout(() => look(), AGAIN);
    });
  }
  document.addEventListener("htmx:after:swap", (event) => {
    if (!rows.contains(event.target)) return;
    answered();
    tell("chunks", null);
    look();
  });
  addEventListener("online", look);
  document.querySelector("#report-connection [data-retry]").addEventListener("click", look);
  return look;
}
