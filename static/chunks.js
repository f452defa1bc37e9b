// The chunks of a report's table: they load when they are near, again if that failed, and are emptied when far away.
"use strict";

function chunksOf(scroller, rows) {
  const [NEAR, FAR] = [2_000, 4_000]; // pixels from the view: at which chunks load, and from which they may be emptied
  const [AGAIN, LONG] = [3_000, 30_000]; // until a failed request is repeated, and a slow one is mentioned
  let asked, looking, again, long;

  // The last chunk that fits, by halves: what fits one has to fit all before it.
  const last = (fits) => {
    let [low, high] = [0, rows.childElementCount - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      fits(rows.children[middle]) ? (low = middle) : (high = middle - 1);
    }
    return rows.children[low];
  };

  const within = (margin) => {
    const found = [], [top, bottom] = [scroller.scrollTop - margin, scroller.scrollTop + scroller.clientHeight + margin];
    let chunk = last((chunk) => chunk.offsetTop <= top);
    for (; chunk && chunk.offsetTop < bottom; chunk = chunk.nextElementSibling) found.push(chunk);
    return found;
  };

  // One request at a time, for what is in view first; what is out of sight by then gives way (hx-sync).
  const busy = () => Boolean(asked?.isConnected && asked.matches(".htmx-request"));
  const look = (event) => {
    const seen = within(0).filter((chunk) => chunk.matches(".gap"));
    const next = seen[0] ?? within(NEAR).find((chunk) => chunk.matches(".gap"));
    if (!seen.length) tell("chunks", null); // what failed is out of sight
    if (!next || (!event && busy() && (next === asked || seen.includes(asked)))) return; // Retry does not wait
    asked = next;
    htmx.trigger(next, "near");
  };
  const lookSoon = () => {
    looking ??= setTimeout(() => {
      looking = undefined;
      rows.parentElement.classList.toggle("tall", rows.offsetHeight > 8_000_000); // app.css says why
      look();
    }, 30);
  };

  // What is more than `live` chunks away is emptied, and past that number the farthest: each holds its placeholder.
  const tidy = () => {
    const live = Number(rows.dataset.live), [near, here] = [within(FAR), within(0)[0].dataset.chunk];
    const away = (chunk) => Math.abs(chunk.dataset.chunk - here);
    const loaded = [...rows.children].filter((chunk) => !chunk.matches(".gap")).sort((a, b) => away(a) - away(b));
    for (const chunk of loaded.filter((chunk, place) => place >= live || away(chunk) > live)) {
      if (near.includes(chunk)) continue;
      if (chunk.contains(document.activeElement)) scroller.focus({ preventScroll: true });
      const gap = chunk.querySelector("template").content.firstElementChild.cloneNode(true);
      Object.assign(gap.dataset, chunk.dataset);
      chunk.replaceWith(gap);
      htmx.process(gap);
    }
  };

  const answered = () => { if (!busy()) long = clearTimeout(long); };
  rows.addEventListener("htmx:before:request", () => { long ??= setTimeout(() => tell("chunks", "lost"), LONG); });
  rows.addEventListener("htmx:finally:request", answered);
  for (const name of ["htmx:error", "htmx:response:error"]) {
    rows.addEventListener(name, (event) => {
      if (within(0).includes(event.target)) tell("chunks", "refused");
      clearTimeout(again);
      if (!(event.detail.ctx?.response?.status < 500)) again = setTimeout(look, AGAIN);
    });
  }
  document.addEventListener("htmx:after:swap", (event) => {
    lookSoon();
    if (!rows.contains(event.target)) return; // the stream's, or another part's
    answered();
    tell("chunks", null);
    tidy();
  });
  addEventListener("online", look);
  document.querySelector("#report-connection [data-retry]").addEventListener("click", look);
  return { last, lookSoon };
}
