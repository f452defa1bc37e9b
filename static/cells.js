// A report's cells: one that is cut off is shown in full, and the edges of the header are dragged.
"use strict";

const table = document.getElementById("report-table");
if (table) {
  showCells(document.getElementById("report-rows"), document.getElementById("row-dialog"));
  dragEdges(table.querySelector(".head"));
}

function showCells(rows, dialog) {
  const open = async (row, column) => {
    const before = document.getElementById("report-row");
    const address = `${location.pathname}/rows/${row.ariaRowIndex - 1}?column=${column}`;
    await htmx.ajax("GET", address, { target: before, swap: "outerHTML" });
    if (before.isConnected) return; // no answer came
    dialog.showModal();
    dialog.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  };

  rows.addEventListener("click", (event) => {
    const cell = event.target.closest("td");
    if (!cell || !getSelection().isCollapsed) return;
    if (cell.scrollWidth > cell.clientWidth || cell.matches(".cut, .binary")) open(cell.parentElement, cell.cellIndex + 1);
  });
  rows.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !event.target.matches("tr")) return;
    event.preventDefault();
    open(event.target, 1);
  });
}

function dragEdges(head) {
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
    grip.addEventListener("lostpointercapture", () => { // the server keeps what comes of it
      grip.removeEventListener("pointermove", drag);
      htmx.ajax("POST", `${location.pathname}/widths`, { values: { width: widths.join() }, swap: "none" });
    }, { once: true });
  });
}
