// Moving about in a report's table: the address, the jump to a row, the finds of a search, keys. No markup is made here.
"use strict";

const scroller = document.getElementById("report-scroll");
if (scroller) browse(scroller, document.getElementById("report-rows"));

function browse(scroller, rows) {
  const ROW = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row"));
  const head = scroller.querySelector(".head");
  const { last, lookSoon } = chunksOf(scroller, rows);
  let current = 0, focusing = false; // the row that keys, a click or a search chose; whether it takes the focus
  let settling, found;

  // Places: a chunk knows its first row, and every row has the same height.
  const first = (chunk) => Number(chunk.dataset.first);
  const lastRow = () => first(rows.lastElementChild) + Math.round(rows.lastElementChild.offsetHeight / ROW) - 1;
  const holds = (row) => rows.firstElementChild && row >= first(rows.firstElementChild) && row <= lastRow();
  const chunkOf = (row) => last((chunk) => first(chunk) <= row);
  const place = (row) => // the scroll position that shows the row right below the header
    chunkOf(row).offsetTop - head.offsetHeight + (row - first(chunkOf(row))) * ROW;
  const topRow = () => {
    const edge = scroller.scrollTop + head.offsetHeight;
    const chunk = last((chunk) => chunk.offsetTop <= edge);
    return first(chunk) + Math.max(0, Math.floor((edge - chunk.offsetTop) / ROW));
  };

  // The chosen row is marked as soon as it is there.
  const mark = () => {
    const row = current && chunkOf(current)?.querySelector(`tr[aria-rowindex="${current + 1}"]`);
    if (!row) return;
    rows.querySelector("[aria-current]")?.removeAttribute("aria-current");
    row.setAttribute("aria-current", "true");
    row.tabIndex = -1;
    if (focusing) row.focus({ preventScroll: true });
    focusing = false;
  };

  // A row that was out of sight is shown with `above` rows above it; one of another page by that page.
  const choose = (row, focus, above = 0, url = `${location.pathname}?row=${row}`) => {
    if (!holds(row)) return location.assign(url);
    [current, focusing] = [row, focus];
    const [top, space] = [place(row), scroller.clientHeight - head.offsetHeight - ROW];
    if (top < scroller.scrollTop) scroller.scrollTop = top - above * ROW;
    else if (top > scroller.scrollTop + space) scroller.scrollTop = top - (above ? above * ROW : space);
    mark();
  };

  // A search's new answer: the address carries it, so that a reload or another page of the report shows it again.
  const heed = () => {
    const answer = document.getElementById("report-found");
    const { row, text } = answer.dataset;
    if (answer === found || !row) { found = answer; return mark(); }
    found = answer;
    const url = new URL(location);
    for (const [name, value] of [["row", row], ["q", text], ["found", row]]) url.searchParams.set(name, value);
    choose(Number(row), false, 5, url);
    if (holds(Number(row))) history.replaceState(null, "", url);
  };
  document.addEventListener("htmx:after:swap", heed);

  // The address carries the row, so that a reload lands on it.
  scroller.addEventListener("scroll", () => {
    lookSoon();
    clearTimeout(settling);
    settling = setTimeout(() => {
      const url = new URL(location);
      const row = rows.firstElementChild ? topRow() : 1;
      row > 1 ? url.searchParams.set("row", row) : url.searchParams.delete("row");
      url.hash = "";
      history.replaceState(null, "", url);
    }, 150);
  }, { passive: true });

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
    if (!(event.key in moves)) return;
    event.preventDefault();
    choose(Math.max(least, Math.min(most, moves[event.key])), true);
  });

  rows.addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (!row || !getSelection().isCollapsed) return;
    current = row.ariaRowIndex - 1;
    mark();
  });

  const wanted = Number(scroller.dataset.row);
  if (wanted && holds(wanted)) scroller.scrollTop = place(wanted);
  if (document.getElementById("report-found").dataset.row) {
    heed();
    document.getElementById("find-next").focus({ preventScroll: true });
  }
  lookSoon();
}
