// The network of the page /try, in a worker of its own, so that the page stays quick. It sends nothing anywhere.
// Messages are {id, ...} and are answered in order by {id, answer} or {id, error}.

let network = null;

async function obey(message) {
  if (message.describe) {
    const { spec, classes, targets, arithmetic, offset, scale } = message.describe;
    const name = arithmetic === "fused" ? "fused" : "portable";
    const { default: initialize, TrialNetwork } = await import(`../worker/${name}/worker.js`);
    await initialize();
    network = new TrialNetwork(spec, classes, targets, name, Float32Array.from(offset), Float32Array.from(scale));
    return null;
  }
  if (message.weights) {
    network.set_weights(new Uint8Array(message.weights));
    return null;
  }
  return network.predict(message.inputs);
}

let turn = Promise.resolve();
onmessage = ({ data }) => {
  turn = turn.then(async () => {
    try {
      postMessage({ id: data.id, answer: await obey(data) });
    } catch (error) {
      postMessage({ id: data.id, error: error.message ?? String(error) });
    }
  });
};
