// Pictures as a network's data has them: what was drawn or chosen, made as large as the network sees, and prepared
// like the data.

/** MNIST's pictures are 28 x 28; the digit fits into 20 x 20, its center of mass in the middle (Y. LeCun). */
const DIGIT = { size: 28, box: 20 };
/** What counts as ink when the box around a drawing is looked for, of 255. */
const INK = 16;

/** What pictures a model takes: {channels, height, width, isDigit, dark}, or null if its inputs are no pictures. */
export function formatOf({ preparation: { pixels } }, examples) {
  if (pixels === null) return null;
  const [channels, height, width] = pixels.shape.length === 3 ? pixels.shape : [1, ...pixels.shape];
  if (width === undefined || ![1, 3].includes(channels)) return null;
  const isBytes = pixels.scaling === "bytes";
  const isDigit = isBytes && channels === 1 && height === DIGIT.size && width === DIGIT.size;
  return { channels, height, width, isBytes, isDigit, isDark: isDark(examples, width * height) };
}

/** Whether pictures of the data are bright on a dark ground: most values of a row of pixels along their edges are low. */
function isDark(examples, plane) {
  if (examples.length === 0) return true;
  const top = Math.max(...examples.flatMap(({ values }) => Math.max(...values)));
  const middle = examples.map(({ values }) => values.slice(0, plane).reduce((sum, value) => sum + value, 0) / plane);
  return middle.reduce((sum, value) => sum + value, 0) / middle.length < top / 2;
}

/** A canvas of that size. */
export function canvas(width, height) {
  const made = document.createElement("canvas");
  [made.width, made.height] = [width, height];
  return made;
}

/** The network's values of a drawing or picture (anything that a canvas draws, `width` x `height`), or null if it is empty. */
export function valuesOf(source, { width, height, isInk }, format) {
  const values = format.isDigit ? digit(source, width, height, isInk) : scaled(source, format, isInk);
  if (values === null) return null;
  return format.isBytes ? values : values.map((value) => value / 255);
}

/** Gray values of a picture, bright where the ink is. */
function inkOf(source, width, height, isInk) {
  const place = canvas(width, height);
  const context = place.getContext("2d", { willReadFrequently: true });
  context.fillStyle = isInk ? "#000" : "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const gray = new Float32Array(width * height);
  for (let at = 0; at < gray.length; at += 1) {
    gray[at] = 0.299 * data[4 * at] + 0.587 * data[4 * at + 1] + 0.114 * data[4 * at + 2];
  }
  if (isInk) return gray;
  // A photograph or scan: dark on bright, or the other way round, which its edge tells.
  let edge = 0;
  for (let x = 0; x < width; x += 1) edge += gray[x] + gray[(height - 1) * width + x];
  for (let y = 0; y < height; y += 1) edge += gray[y * width] + gray[y * width + width - 1];
  return edge / (2 * (width + height)) > 127 ? gray.map((value) => 255 - value) : gray;
}

/** As MNIST was made: cut to the box, fitted into 20 x 20, centered by mass in 28 x 28. */
function digit(source, width, height, isInk) {
  const ink = inkOf(source, width, height, isInk);
  let [left, right, top, bottom] = [width, -1, height, -1];
  ink.forEach((value, at) => {
    if (value <= INK) return;
    const [x, y] = [at % width, Math.floor(at / width)];
    [left, right, top, bottom] = [Math.min(left, x), Math.max(right, x), Math.min(top, y), Math.max(bottom, y)];
  });
  if (right < left) return null;
  const [boxWidth, boxHeight] = [right - left + 1, bottom - top + 1];
  const scale = DIGIT.box / Math.max(boxWidth, boxHeight);
  const [fitWidth, fitHeight] = [boxWidth, boxHeight].map((size) => Math.max(1, Math.round(size * scale)));
  const fitted = shrink((x, y) => ink[(top + y) * width + left + x], boxWidth, boxHeight, fitWidth, fitHeight);
  let [mass, across, down] = [0, 0, 0];
  fitted.forEach((value, at) => {
    mass += value;
    across += value * (at % fitWidth);
    down += value * Math.floor(at / fitWidth);
  });
  const middle = (DIGIT.size - 1) / 2;
  const clamp = (offset, size) => Math.min(Math.max(offset, 0), DIGIT.size - size);
  const x = clamp(Math.round(middle - across / mass), fitWidth);
  const y = clamp(Math.round(middle - down / mass), fitHeight);
  const values = new Float32Array(DIGIT.size * DIGIT.size);
  fitted.forEach((value, at) => {
    values[(y + Math.floor(at / fitWidth)) * DIGIT.size + x + (at % fitWidth)] = Math.round(value);
  });
  return values;
}

/** Mean values over the part of the picture that each new pixel covers. */
function shrink(valueAt, width, height, newWidth, newHeight) {
  const values = new Float32Array(newWidth * newHeight);
  for (let row = 0; row < newHeight; row += 1) {
    for (let column = 0; column < newWidth; column += 1) {
      const from = { x: (column * width) / newWidth, y: (row * height) / newHeight };
      const to = { x: ((column + 1) * width) / newWidth, y: ((row + 1) * height) / newHeight };
      let [sum, area] = [0, 0];
      for (let y = Math.floor(from.y); y < Math.ceil(to.y); y += 1) {
        const tall = Math.min(y + 1, to.y) - Math.max(y, from.y);
        for (let x = Math.floor(from.x); x < Math.ceil(to.x); x += 1) {
          const part = tall * (Math.min(x + 1, to.x) - Math.max(x, from.x));
          sum += part * valueAt(x, y);
          area += part;
        }
      }
      values[row * newWidth + column] = sum / area;
    }
  }
  return values;
}

/** The whole picture in the network's size, bright on dark or dark on bright as the data's are. */
function scaled(source, { channels, width, height, isDark }, isInk) {
  const place = canvas(width, height);
  const context = place.getContext("2d", { willReadFrequently: true });
  context.fillStyle = isInk ? "#000" : "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const values = new Float32Array(channels * width * height);
  let isEmpty = isInk;
  for (let at = 0; at < width * height; at += 1) {
    const [red, green, blue] = data.subarray(4 * at, 4 * at + 3);
    if (red + green + blue > 3 * INK) isEmpty = false;
    const colors = channels === 3 ? [red, green, blue] : [0.299 * red + 0.587 * green + 0.114 * blue];
    colors.forEach((value, channel) => {
      values[channel * width * height + at] = isInk && !isDark ? 255 - value : Math.round(value);
    });
  }
  return isEmpty ? null : values;
}

/** Shows values as the network sees them. */
export function paint(place, values, { channels, width, height, isBytes }) {
  [place.width, place.height] = [width, height];
  const context = place.getContext("2d");
  const picture = context.createImageData(width, height);
  const [low, high] = isBytes ? [0, 255] : [Math.min(...values), Math.max(...values)];
  for (let at = 0; at < width * height; at += 1) {
    for (let color = 0; color < 3; color += 1) {
      const value = values[(channels === 3 ? color : 0) * width * height + at];
      picture.data[4 * at + color] = ((value - low) / (high - low || 1)) * 255;
    }
    picture.data[4 * at + 3] = 255;
  }
  context.putImageData(picture, 0, 0);
}
