// The page of sy_draw(): a pad to draw on, the 28 x 28 input made from it as MNIST's images were made, and the answer.
"use strict";

const PIXELS = 28;    // of the model's input
const BOX = 20;       // MNIST scales each digit into so many pixels, and then centres it by its mass
const PEN = 22;       // width of the line, in pixels of the pad
const PAUSE = 350;    // a digit may have several strokes: ask so many milliseconds after the last one

const element = (id) => document.getElementById(id);
const pad = element("pad");
const pen = pad.getContext("2d", { willReadFrequently: true });
let last = null;
let waiting = null;

function clear() {
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, pad.width, pad.height);
  pen.lineWidth = PEN;
  pen.lineCap = pen.lineJoin = "round";
  pen.strokeStyle = "#000";
  for (const id of ["sent", "server0", "server1", "server2"]) paint(id, null);
  element("label").innerHTML = "&nbsp;";
  bars(Array.from({ length: 10 }, (_, i) => ({ label: String(i), probability: 0 })), -1);
}

function place(event) {
  const frame = pad.getBoundingClientRect();
  return { x: (event.clientX - frame.left) * pad.width / frame.width,
           y: (event.clientY - frame.top) * pad.height / frame.height };
}

function stroke(to) {
  pen.beginPath();
  pen.moveTo(last.x, last.y);
  pen.lineTo(to.x, to.y);
  pen.stroke();
  last = to;
}

pad.addEventListener("pointerdown", (event) => {
  pad.setPointerCapture(event.pointerId);
  clearTimeout(waiting);
  last = place(event);
  stroke(last);
});
pad.addEventListener("pointermove", (event) => { if (last) stroke(place(event)); });
for (const end of ["pointerup", "pointercancel"]) {
  pad.addEventListener(end, () => {
    last = null;
    clearTimeout(waiting);
    waiting = setTimeout(ask, PAUSE);
  });
}
element("clear").addEventListener("click", () => { clearTimeout(waiting); clear(); });

// How dark each pixel of a canvas is, from 0 to 1.
function darkness(context, width, height) {
  const data = context.getImageData(0, 0, width, height).data;
  return Float32Array.from({ length: width * height }, (_, i) => 1 - data[4 * i] / 255);
}

// The smallest box around what is drawn; null when nothing is.
function inkBox(ink, width) {
  let left = Infinity, right = -1, top = Infinity, bottom = -1;
  ink.forEach((value, i) => {
    if (value < 0.1) return;
    const x = i % width, y = Math.floor(i / width);
    left = Math.min(left, x); right = Math.max(right, x);
    top = Math.min(top, y); bottom = Math.max(bottom, y);
  });
  return right < 0 ? null : { left, top, width: right - left + 1, height: bottom - top + 1 };
}

function scaled(box, dx, dy) {
  const small = document.createElement("canvas");
  small.width = small.height = PIXELS;
  const context = small.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, PIXELS, PIXELS);
  context.imageSmoothingQuality = "high";
  const scale = BOX / Math.max(box.width, box.height);
  const width = box.width * scale, height = box.height * scale;
  context.drawImage(pad, box.left, box.top, box.width, box.height,
                    (PIXELS - width) / 2 + dx, (PIXELS - height) / 2 + dy, width, height);
  return darkness(context, PIXELS, PIXELS);
}

// The drawing as an image of MNIST: scaled into a box, its centre of mass in the middle.
function digit() {
  const box = inkBox(darkness(pen, pad.width, pad.height), pad.width);
  if (!box) return null;
  const ink = scaled(box, 0, 0);
  let mass = 0, x = 0, y = 0;
  ink.forEach((value, i) => { mass += value; x += value * (i % PIXELS); y += value * Math.floor(i / PIXELS); });
  return scaled(box, Math.round((PIXELS - 1) / 2 - x / mass), Math.round((PIXELS - 1) / 2 - y / mass));
}

function ask() {
  const input = digit();
  if (!input) return;
  paint("sent", input);
  Shiny.setInputValue("drawing", Array.from(input, (value) => Math.round(value * 255)), { priority: "event" });
}

// Paint 28 x 28 numbers from 0 to 1, light to dark.
function paint(id, values) {
  const context = element(id).getContext("2d");
  const image = context.createImageData(PIXELS, PIXELS);
  for (let i = 0; i < PIXELS * PIXELS; i++) {
    const shade = values ? 255 * (1 - values[i]) : 255;
    image.data.set([shade, shade, shade, 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
}

function bars(classes, best) {
  element("bars").replaceChildren(...classes.map(({ label, probability }, i) => {
    const row = document.createElement("li");
    if (i === best) row.className = "best";
    const parts = ["name", "track", "percent"].map((name) => {
      const part = document.createElement("span");
      part.className = name;
      return row.appendChild(part);
    });
    parts[0].textContent = label;
    const bar = parts[1].appendChild(document.createElement("div"));
    bar.className = "bar";
    bar.style.width = `${100 * probability}%`;
    parts[2].textContent = best < 0 ? "" : `${(100 * probability).toFixed(1)} %`;
    return row;
  }));
}

function say(text, problem) {
  element("note").textContent = text;
  element("note").className = problem ? "problem" : "";
}

// A browser keeps a page that was left, in case one comes back, and with it the connection: end it.
window.addEventListener("pagehide", () => Shiny.shinyapp?.$socket?.close());

document.addEventListener("DOMContentLoaded", () => {
  clear();
  Shiny.addCustomMessageHandler("answer", (answer) => {
    for (const [role, values] of Object.entries(answer.views)) paint(role, values);
    const best = answer.probabilities.indexOf(Math.max(...answer.probabilities));
    const small = document.createElement("small");
    small.textContent = ` with probability ${(100 * answer.probabilities[best]).toFixed(1)} %`;
    element("label").replaceChildren(answer.classes[best], small);
    bars(answer.classes.map((label, i) => ({ label, probability: answer.probabilities[i] })), best);
    say(answer.note, false);
  });
  Shiny.addCustomMessageHandler("problem", (text) => say(text, true));
});
