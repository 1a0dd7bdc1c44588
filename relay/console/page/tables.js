// Tables, whose cells are text whatever they contain.

import {visible} from "./format.js";

// fill makes the rows of a table. Each row is a list of texts; columns are the
// class names of the cells. The first cell is the row's header if isHeader.
// Cells that stay the same are not touched, so that a selection survives.
export function fill(body, rows, columns, {empty = "none", header = false} = {}) {
  if (rows.length === 0) {
    if (body.firstElementChild?.className === "none" && body.textContent === empty) return;
    const row = document.createElement("tr"), cell = document.createElement("td");
    row.className = "none";
    cell.colSpan = columns.length;
    cell.textContent = empty;
    row.append(cell);
    body.replaceChildren(row);
    return;
  }
  if (body.firstElementChild?.className === "none") body.replaceChildren();
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((texts, i) => {
    const row = body.rows[i] ?? body.insertRow();
    texts.forEach((text, k) => {
      let cell = row.cells[k];
      if (!cell) {
        cell = document.createElement(header && k === 0 ? "th" : "td");
        if (header && k === 0) cell.scope = "row";
        cell.className = columns[k];
        row.append(cell);
      }
      const content = visible(text);
      if (cell.textContent !== content) cell.textContent = content;
    });
  });
}
