// Sorts the sortable table by a column and shows the chosen verdicts. Without it the table is as it was written.
{
  const table = document.querySelector("table.sortable");
  const body = table.tBodies[0];
  const value = (row, column) => {
    const text = row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
    const number = Number(text);
    return text === "" ? null : Number.isNaN(number) ? text : number;
  };

  function order(a, b, up) {
    if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1; // what is not known comes last, both ways
    const less = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
    return up ? less : -less;
  }

  for (const head of table.tHead.rows[0].cells) {
    const button = head.querySelector("button");
    if (!button) continue;
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => [value(row, head.cellIndex), row]);
      rows.sort(([a], [b]) => order(a, b, up));
      body.append(...rows.map(([, row]) => row));
    });
  }

  for (const button of document.querySelectorAll("button[data-verdict]"))
    button.addEventListener("click", () => {
      const wanted = button.dataset.verdict;
      for (const other of document.querySelectorAll("button[data-verdict]"))
        other.setAttribute("aria-pressed", String(other === button));
      for (const row of body.rows) row.hidden = wanted !== "all" && row.dataset.verdict !== wanted;
    });
  document.documentElement.classList.add("scripted");
}
