// Tells whether this browser can run the worker: it has the browser validate tiny modules that contain
// one instruction of the kind in question.

const MAGIC_AND_VERSION = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
const ONE_TYPE_NO_PARAMETERS = [0x01, 0x04, 0x01, 0x60, 0x00, 0x00];
const ONE_FUNCTION = [0x03, 0x02, 0x01, 0x00];
const ONE_V128_LOCAL = [0x01, 0x01, 0x7b];
const GET_LOCAL = [0x20, 0x00];
const DROP_AND_END = [0x1a, 0x0b];
const F32X4_ADD = [0xfd, 0xe4, 0x01];
const F32X4_RELAXED_MADD = [0xfd, 0x85, 0x02];

/** Whether the browser has 128-bit SIMD instructions, which every worker needs. */
export function hasSimd() {
  return accepts([...GET_LOCAL, ...GET_LOCAL, ...F32X4_ADD]);
}

/** Whether the browser has relaxed SIMD, which the fused worker needs. */
export function hasRelaxedSimd() {
  return accepts([...GET_LOCAL, ...GET_LOCAL, ...GET_LOCAL, ...F32X4_RELAXED_MADD]);
}

/**
 * How much of this device's memory a tab may take: half of the memory that the browser reports. Browsers round
 * and cap that figure for privacy. Firefox and Safari report none; then half of 4 GB.
 */
export function memoryBytes() {
  return ((navigator.deviceMemory ?? 4) * 2 ** 30) / 2;
}

/** One sentence that says why this browser cannot help a run of that arithmetic, or null. */
export function obstacle(arithmetic) {
  const newer = "A current Chrome, Edge, Firefox or Safari can.";
  if (typeof Worker === "undefined" || typeof WebSocket === "undefined") {
    return `Your browser cannot help because it has no web workers or web sockets. ${newer}`;
  }
  if (typeof WebAssembly === "undefined") {
    return `Your browser cannot help because WebAssembly is missing or switched off. ${newer}`;
  }
  if (!hasSimd()) {
    return `Your browser cannot help because its WebAssembly lacks SIMD instructions. ${newer}`;
  }
  if (arithmetic === "fused" && !hasRelaxedSimd()) {
    return "Your browser cannot help because this training uses fused arithmetic, which needs "
      + "WebAssembly relaxed SIMD. A current Chrome, Edge or Firefox has it.";
  }
  return null;
}

function accepts(instructions) {
  const body = [...ONE_V128_LOCAL, ...instructions, ...DROP_AND_END];
  const code = [0x0a, body.length + 2, 0x01, body.length, ...body];
  return WebAssembly.validate(
    new Uint8Array([...MAGIC_AND_VERSION, ...ONE_TYPE_NO_PARAMETERS, ...ONE_FUNCTION, ...code]),
  );
}
