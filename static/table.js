// Moving about in a report's table: rows that come and go, places, keys, widths. No markup is made here.
"use strict";

const scroller = document.getElementById("report-scroll");
if (scroller) browse(scroller, document.getElementById("report-rows"));

function browse(scroller, rows) {
  const [NEAR, FAR] = [2_000, 4_000]; // pixels from the view: at which chunks load, and may be emptied
  const ROW = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row"));
  const head = scroller.querySelector(".head");
  const banner = document.getElementById("report-connection");
  let current = 0, focusing = false; // the row that keys, a click or a search chose; whether it takes the focus
  let settling, looking, found;

  // Places: a chunk knows its first row, and every row has the same height.
  const first = (chunk) => Number(chunk.dataset.first);
  const chunks = () => [...rows.children]; // a selector would look at every cell
  const lastBy = (wanted) => chunks().findLast(wanted) ?? rows.firstElementChild;
  const lastRow = () => first(rows.lastElementChild) + Math.round(rows.lastElementChild.offsetHeight / ROW) - 1;
  const holds = (row) => rows.firstElementChild && row >= first(rows.firstElementChild) && row <= lastRow();
  const place = (row) => { // the scroll position that shows the row right below the header
    const chunk = lastBy((chunk) => first(chunk) <= row);
    return chunk.offsetTop - head.offsetHeight + (row - first(chunk)) * ROW;
  };
  const edge = () => scroller.scrollTop + head.offsetHeight; // where the header ends
  const topChunk = () => lastBy((chunk) => chunk.offsetTop <= edge());
  const topRow = () => first(topChunk()) + Math.max(0, Math.floor((edge() - topChunk().offsetTop) / ROW));

  // The chosen row is marked as soon as it is there.
  const mark = () => {
    const row = current && lastBy((chunk) => first(chunk) <= current)?.querySelector(`tr[aria-rowindex="${current + 1}"]`);
    if (!row) return;
    rows.querySelector("[aria-current]")?.removeAttribute("aria-current");
    row.setAttribute("aria-current", "true");
    row.tabIndex = -1;
    if (focusing) row.focus({ preventScroll: true });
    focusing = false;
  };

  const choose = (row, focus, above = 0) => { // `above` rows are shown above it if it was out of sight
    if (!holds(row)) return location.assign(`${location.pathname}?row=${row}`);
    [current, focusing] = [row, focus];
    const [top, space] = [place(row), scroller.clientHeight - head.offsetHeight - ROW];
    if (top < scroller.scrollTop) scroller.scrollTop = top - above * ROW;
    else if (top > scroller.scrollTop + space) scroller.scrollTop = top - (above ? above * ROW : space);
    mark();
  };

  // Chunks far away are emptied, and past the bound the farthest: each holds its placeholder as a template.
  const tidy = () => {
    const [bound, top] = [Number(rows.dataset.live), scroller.scrollTop];
    const here = topChunk().dataset.chunk;
    const away = (chunk) => Math.abs(chunk.dataset.chunk - here);
    const near = (chunk) => chunk.offsetTop < top + scroller.clientHeight + FAR
      && chunk.offsetTop + chunk.offsetHeight > top - FAR;
    const loaded = chunks().filter((chunk) => !chunk.matches(".gap")).sort((a, b) => away(a) - away(b));
    for (const chunk of loaded.filter((chunk, place) => place >= bound || away(chunk) > bound)) {
      if (near(chunk)) continue;
      if (chunk.contains(document.activeElement)) scroller.focus({ preventScroll: true });
      const gap = chunk.querySelector("template").content.firstElementChild.cloneNode(true);
      Object.assign(gap.dataset, chunk.dataset);
      chunk.replaceWith(gap);
      htmx.process(gap);
    }
  };

  // Placeholders load when they are near, those in view first; what is out of sight by then gives way (hx-sync).
  const look = () => {
    const [top, bottom] = [scroller.scrollTop, scroller.scrollTop + scroller.clientHeight];
    const within = (chunk, margin) =>
      chunk.offsetTop < bottom + margin && chunk.offsetTop + chunk.offsetHeight > top - margin;
    const gaps = chunks().filter((chunk) => chunk.matches(".gap"));
    const next = gaps.find((gap) => within(gap, 0)) ?? gaps.find((gap) => within(gap, NEAR));
    const busy = gaps.find((gap) => gap.matches(".htmx-request"));
    if (next && next !== busy && !(busy && within(busy, 0))) htmx.trigger(next, "near");
  };
  const lookSoon = () => { looking ||= setTimeout(() => { looking = 0; look(); }, 30); };

  document.addEventListener("htmx:after:swap", (event) => {
    if (rows.contains(event.target)) { // a chunk that was asked for, and not one of the stream
      banner.hidden = true;
      tidy();
    }
    lookSoon();
    const answer = document.getElementById("report-found");
    if (answer !== found && (found = answer)?.dataset.row) choose(Number(answer.dataset.row), false, 5);
    else mark();
  });
  for (const name of ["htmx:error", "htmx:response:error"]) {
    rows.addEventListener(name, () => {
      banner.firstElementChild.textContent = banner.dataset[navigator.onLine ? "refused" : "offline"];
      banner.hidden = false;
    });
  }
  addEventListener("online", look);
  banner.querySelector("[data-retry]").addEventListener("click", look);

  // The address carries the row, so that a reload lands on it.
  scroller.addEventListener("scroll", () => {
    lookSoon();
    clearTimeout(settling);
    settling = setTimeout(() => {
      const url = new URL(location);
      rows.firstElementChild && topRow() > 1 ? url.searchParams.set("row", topRow()) : url.searchParams.delete("row");
      history.replaceState(null, "", url);
    }, 150);
  }, { passive: true });
  if (scroller.dataset.row && holds(Number(scroller.dataset.row))) scroller.scrollTop = place(Number(scroller.dataset.row));

  document.getElementById("report-jump").addEventListener("submit", (event) => {
    const row = Number(event.target.elements.row.value);
    if (!holds(row)) return; // the server shows the page that has it
    event.preventDefault();
    scroller.scrollTop = place(row);
    choose(row, true);
  });

  scroller.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || !event.target.matches("#report-scroll, tr")) return;
    if (!rows.firstElementChild) return;
    const [row, space] = [current || topRow() - 1, Math.floor((scroller.clientHeight - head.offsetHeight) / ROW) - 1];
    const [least, most] = [first(rows.firstElementChild), lastRow()];
    const moves = { ArrowDown: row + 1, ArrowUp: row - 1, PageDown: row + space, PageUp: row - space, Home: least, End: most };
    if (event.key in moves) choose(Math.max(least, Math.min(most, moves[event.key])), true);
    else if (event.key !== "Enter" || !current) return;
    else open(current, 1);
    event.preventDefault();
  });

  // A cell that is cut off is shown in full, with its row.
  const dialog = document.getElementById("row-dialog");
  const open = (row, column) => htmx
    .ajax("GET", `${location.pathname}/rows/${row}?column=${column}`, { target: "#report-row", swap: "outerHTML" })
    .then(() => { dialog.showModal(); dialog.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" }); });
  rows.addEventListener("click", (event) => {
    const cell = event.target.closest("td");
    if (!cell || !getSelection().isCollapsed) return;
    current = cell.parentElement.ariaRowIndex - 1;
    mark();
    if (cell.scrollWidth > cell.clientWidth || cell.matches(".cut, .binary")) open(current, cell.cellIndex + 1);
  });

  // Widths: the edges in the header are dragged, and the server keeps what comes of it.
  const apply = (widths) => {
    const total = widths.reduce((sum, width) => sum + width);
    const sheet = [...document.styleSheets].findLast((sheet) => sheet.href?.includes("/table.css"));
    for (const rule of sheet.cssRules) {
      const column = /^\.c(\d+)$/.exec(rule.selectorText)?.[1];
      if (rule.style?.width) rule.style.width = `${column ? widths[column - 1] : total}px`;
    }
  };
  head.addEventListener("pointerdown", (event) => {
    const grip = event.target.closest(".grip");
    if (!grip) return;
    event.preventDefault();
    const widths = [...head.querySelectorAll("th")].map((cell) => Math.round(cell.offsetWidth));
    const column = grip.closest("th").cellIndex, from = event.clientX - widths[column];
    const drag = ({ clientX }) => {
      widths[column] = Math.max(40, Math.min(2000, Math.round(clientX - from)));
      apply(widths);
    };
    grip.setPointerCapture(event.pointerId);
    grip.addEventListener("pointermove", drag);
    grip.addEventListener("lostpointercapture", () => {
      grip.removeEventListener("pointermove", drag);
      htmx.ajax("POST", `${location.pathname}/widths`, { values: { width: widths.join() }, swap: "none" });
    }, { once: true });
  });
}
