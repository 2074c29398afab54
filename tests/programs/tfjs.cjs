// The optimizers of @tensorflow/tfjs-core as targets of refopt: exec:node tfjs.cjs adam
// The packages @tensorflow/tfjs-core and @tensorflow/tfjs-backend-cpu are found by NODE_PATH.
"use strict";

const readline = require("node:readline");
const tf = require("@tensorflow/tfjs-core");
require("@tensorflow/tfjs-backend-cpu");

const OPTIMIZERS = {
  sgd: [["lr"], (h) => tf.train.sgd(h.lr)],
  momentum: [
    ["lr", "momentum", "nesterov"],
    (h) => tf.train.momentum(h.lr, h.momentum, h.nesterov),
  ],
  adagrad: [["lr", "initial_accumulator"], (h) => tf.train.adagrad(h.lr, h.initial_accumulator)],
  adadelta: [["lr", "rho", "eps"], (h) => tf.train.adadelta(h.lr, h.rho, h.eps)],
  rmsprop: [
    ["lr", "rho", "momentum", "eps", "centered"],
    (h) => tf.train.rmsprop(h.lr, h.rho, h.momentum, h.eps, h.centered),
  ],
  adam: [["lr", "beta1", "beta2", "eps"], (h) => tf.train.adam(h.lr, h.beta1, h.beta2, h.eps)],
  adamax: [["lr", "beta1", "beta2", "eps"], (h) => tf.train.adamax(h.lr, h.beta1, h.beta2, h.eps)],
};

/** The number that a text such as 0x1.8p+1 stands for; NaN and infinities do not come up here. */
function fromHex(text) {
  const [, sign, whole, fraction, exponent] = /^(-?)0x([01])\.?([0-9a-f]*)p(.*)$/.exec(text);
  const digits = parseInt(whole + fraction, 16); // at most 53 bits
  const shift = Number(exponent) - 4 * fraction.length; // in two factors, so that none underflows
  const half = Math.trunc(shift / 2);
  return (sign ? -1 : 1) * digits * 2 ** half * 2 ** (shift - half);
}

/** A number of float32 in hexadecimal. */
function toHex(number) {
  if (Number.isNaN(number)) return "nan";
  const sign = number < 0 || Object.is(number, -0) ? "-" : "";
  let rest = Math.abs(number);
  if (rest === Infinity) return sign + "inf";
  if (rest === 0) return sign + "0x0p+0";
  let exponent = 0;
  for (; rest >= 2; rest /= 2) exponent++;
  for (; rest < 1; rest *= 2) exponent--;
  const digits = ((rest - 1) * 2 ** 24).toString(16).padStart(6, "0");
  return `${sign}0x1.${digits}p${exponent < 0 ? "" : "+"}${exponent}`;
}

const numeric = (value) => (typeof value === "string" ? fromHex(value) : value);
const supports = ["set_lr", "missing"]; // tfjs saves no learning rate, and skips what is null
const [accepts, make] = OPTIMIZERS[process.argv[2]];
let optimizer;
let variables;

const methods = {
  start: () => ({ protocol: 1, name: `tfjs ${process.argv[2]}`, accepts, supports }),
  init({ dtype, shapes, params, hyperparameters }) {
    if (dtype !== "float32") return { skip: "tfjs computes in float32" };
    const given = Object.entries(hyperparameters).map(([name, value]) => [name, numeric(value)]);
    optimizer = make(Object.fromEntries(given));
    variables = params.map((array, i) =>
      tf.variable(tf.tensor(array.map(fromHex), shapes[i], dtype), true, `p${i}`),
    );
    return {};
  },
  step({ gradients }) {
    tf.tidy(() => {
      const given = gradients.map((array, i) => [
        `p${i}`,
        array && tf.tensor(array.map(fromHex), variables[i].shape),
      ]);
      optimizer.applyGradients(Object.fromEntries(given));
    });
    return { params: variables.map((variable) => [...variable.dataSync()].map(toHex)) };
  },
  set_lr({ lr }) {
    const rate = fromHex(lr);
    if (optimizer.setLearningRate) optimizer.setLearningRate(rate);
    else optimizer.learningRate = rate;
    return {};
  },
  stop: () => process.exit(),
};

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const request = JSON.parse(line);
  const reply = { id: request.id, ...methods[request.method](request) };
  process.stdout.write(`${JSON.stringify(reply)}\n`);
});
