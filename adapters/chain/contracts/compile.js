// Compiles every .sol file of the directory argv[2] with the solc found from
// argv[3], and prints {"<contract>": {abi, creation, runtime}} in a form that
// depends on nothing but the sources and the compiler.
const fs = require("fs");
const path = require("path");
const solc = require(require.resolve("solc", { paths: [process.argv[3]] }));

const dir = process.argv[2];
const sources = {};
for (const name of fs.readdirSync(dir).filter((n) => n.endsWith(".sol")).sort()) {
  sources[name] = { content: fs.readFileSync(path.join(dir, name), "utf8") };
}
const out = JSON.parse(
  solc.compile(
    JSON.stringify({
      language: "Solidity",
      sources,
      settings: {
        evmVersion: "cancun",
        optimizer: { enabled: true, runs: 200 },
        metadata: { appendCBOR: false, bytecodeHash: "none" },
        outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
      },
    }),
  ),
);
for (const e of out.errors || []) {
  console.error(e.formattedMessage);
}
if ((out.errors || []).length > 0) {
  process.exit(1);
}
const result = {};
for (const name of Object.keys(sources)) {
  const contract = path.basename(name, ".sol");
  const c = out.contracts[name][contract];
  result[contract] = {
    abi: c.abi,
    creation: "0x" + c.evm.bytecode.object,
    runtime: "0x" + c.evm.deployedBytecode.object,
  };
}
process.stdout.write(JSON.stringify(result, null, "\t") + "\n");
