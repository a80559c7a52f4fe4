// node trace_processor.mjs ENGINE TRACE QUERY: Perfetto's engine as a browser's worker would run it.
// Prints a JSON list of its answers (TraceProcessorRpcStream), each in base64.
import fs from "node:fs";
import path from "node:path";
import vm from "node:vm";

const [, , engine, trace, query] = process.argv;
const file = (url) => fs.readFileSync(path.join(engine, path.basename(String(url))));

process.type = "renderer"; // else emscripten takes this for node
globalThis.self = globalThis;
globalThis.location = { href: "http://localhost/engine_bundle.js" };
globalThis.importScripts = () => {};
globalThis.WorkerGlobalScope = function () {};
globalThis.fetch = async (url) =>
  new Response(file(url), { headers: { "content-type": "application/wasm" } });
globalThis.XMLHttpRequest = class {
  open(_, url) { this.url = url; }
  setRequestHeader() {}
  send() {
    const bytes = file(this.url);
    this.status = 200;
    this.response = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
    this.onload?.();
  }
};
console.log = console.error;
// The engine takes no question before its wasm is compiled, and does not tell when it is.
const compiled = new Promise((done) => {
  WebAssembly.Instance = class extends WebAssembly.Instance {
    constructor(...given) {
      super(...given);
      setTimeout(done); // whoever made it goes on first
    }
  };
});

// Protobuf by hand: RpcStream.msg = 1; Rpc.seq = 1, request = 2, append = 101, query = 103.
const varint = (number) => {
  const bytes = [];
  for (let rest = BigInt(number); ; rest >>= 7n) {
    bytes.push(Number(rest & 127n) | (rest > 127n ? 128 : 0));
    if (rest <= 127n) return Buffer.from(bytes);
  }
};
const text = (field, bytes) => Buffer.concat([varint((field << 3) | 2), varint(bytes.length), bytes]);
const number = (field, value) => Buffer.concat([varint(field << 3), varint(value)]);
const [APPEND, FINALIZE, QUERY] = [1, 2, 3];

const answers = [];
const port = {
  onmessage: null,
  postMessage(bytes) {
    answers.push(Buffer.from(bytes).toString("base64"));
  },
};
vm.runInThisContext(file("engine_bundle.js").toString(), { filename: "engine_bundle.js" });
globalThis.onmessage({ data: port });

await compiled;

let sequence = 0;
const ask = (request, arguments_ = Buffer.alloc(0)) => {
  const message = Buffer.concat([number(1, ++sequence), number(2, request), arguments_]);
  port.onmessage({ data: new Uint8Array(text(1, message)) });
};
ask(APPEND, text(101, fs.readFileSync(trace)));
ask(FINALIZE);
ask(QUERY, text(103, text(1, Buffer.from(query))));
process.stdout.write(JSON.stringify(answers), () => process.exit(0));
