// Moving about in a report's table: rows that come and go, places, keys, widths. No markup is made here.
"use strict";

const scroller = document.getElementById("report-scroll");
if (scroller) browse(scroller, document.getElementById("report-rows"));

function browse(scroller, rows) {
  const FAR = 2_000; // pixels from the view: a nearer chunk that is emptied would load again at once
  const ROW = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row"));
  const head = scroller.querySelector(".head");
  const banner = document.getElementById("report-connection");
  let current = 0, focusing = false; // the row that keys, a click or a search chose; whether it takes the focus
  let settling, found;

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
  const topRow = () => {
    const top = scroller.scrollTop + head.offsetHeight;
    const chunk = lastBy((chunk) => chunk.offsetTop <= top);
    return first(chunk) + Math.max(0, Math.floor((top - chunk.offsetTop) / ROW));
  };

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

  // Past the bound the farthest chunks are emptied: each holds its placeholder as a template.
  const tidy = () => {
    const loaded = chunks().filter((chunk) => !chunk.matches(".gap"));
    const excess = loaded.length - rows.dataset.live;
    if (excess <= 0) return;
    const top = scroller.scrollTop;
    const away = (chunk) =>
      Math.max(chunk.offsetTop - top - scroller.clientHeight, top - chunk.offsetTop - chunk.offsetHeight);
    const far = loaded.map((chunk) => [away(chunk), chunk]).filter(([pixels]) => pixels > FAR);
    for (const [, chunk] of far.sort((a, b) => b[0] - a[0]).slice(0, excess)) {
      if (chunk.contains(document.activeElement)) scroller.focus({ preventScroll: true });
      const gap = chunk.querySelector("template").content.firstElementChild.cloneNode(true);
      Object.assign(gap.dataset, chunk.dataset);
      chunk.replaceWith(gap);
      htmx.process(gap);
    }
  };

  // Of several chunks that come near at once only the last one's request goes on (hx-sync): the others follow.
  const look = () => {
    const view = scroller.getBoundingClientRect();
    const gap = chunks().find((chunk) => {
      const box = chunk.matches(".gap") && chunk.getBoundingClientRect();
      return box && box.bottom > view.top && box.top < view.bottom;
    });
    if (gap && !chunks().some((chunk) => chunk.matches(".htmx-request"))) htmx.trigger(gap, "intersect");
  };

  document.addEventListener("htmx:after:swap", (event) => {
    if (rows.contains(event.target)) { banner.hidden = true; look(); }
    tidy();
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
    clearTimeout(settling);
    settling = setTimeout(() => {
      const url = new URL(location);
      rows.firstElementChild && topRow() > 1 ? url.searchParams.set("row", topRow()) : url.searchParams.delete("row");
      history.replaceState(null, "", url);
      look();
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
