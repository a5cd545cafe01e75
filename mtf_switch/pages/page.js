// Shows the values below the pointer in a chart's caption. Without it the page
// lacks nothing else.
"use strict";
for (const svg of document.querySelectorAll("svg.chart")) {
  const {x0, x1, y0, y1, unit} = svg.dataset;
  const box = svg.querySelector(".frame").getBBox();
  const cursor = svg.querySelector(".cursor");
  const caption = svg.parentElement.querySelector("figcaption");
  const usual = caption.textContent;
  const curves = [...svg.querySelectorAll(".curve")].map(path => ({
    name: path.dataset.name,
    points: [...path.getAttribute("d").matchAll(/([-\d.]+) ([-\d.]+)/g)]
        .map(match => [Number(match[1]), Number(match[2])]),
  }));
  const value = (place, start, size, low, high) =>
      Number(low) + (place - start) / size * (high - low);
  const short = number => Number(number.toPrecision(5)).toLocaleString("en");
  svg.addEventListener("pointermove", event => {
    const seen = svg.getBoundingClientRect();
    const at = (event.clientX - seen.left) / seen.width *
        svg.viewBox.baseVal.width;
    const near = curves.filter(curve => curve.points.length).map(curve => ({
      name: curve.name,
      point: curve.points.reduce((best, point) =>
          Math.abs(point[0] - at) < Math.abs(best[0] - at) ? point : best),
    }));
    if (!near.length) return;
    const x = near.reduce((best, {point}) =>
        Math.abs(point[0] - at) < Math.abs(best - at) ? point[0] : best,
        near[0].point[0]);
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.style.visibility = "visible";
    caption.textContent = near.map(({name, point}) =>
        `${name}: ${short(value(point[1], box.y + box.height, -box.height,
            y0, y1))} at ${unit} ${short(value(point[0], box.x, box.width,
            x0, x1))}`).join("; ");
  });
  svg.addEventListener("pointerleave", () => {
    cursor.style.visibility = "hidden";
    caption.textContent = usual;
  });
}
