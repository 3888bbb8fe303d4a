// A client of the TypeScript SDK 2.x: node ts2_client.mjs MODE URL TOKEN. MODE: `legacy`, which is
// its default, or `auto`. Orders on stdin, what it saw on stdout, one JSON a line; conversation.py
// says which. Without `timeout`: the SDK's own 60 s.
import { createInterface } from "node:readline";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

const [mode, url, token] = process.argv.slice(2);
const say = (seen) => process.stdout.write(`${JSON.stringify(seen)}\n`);

const transport = new StreamableHTTPClientTransport(new URL(url), {
  requestInit: { headers: { Authorization: `Bearer ${token}` } },
});
const client = new Client({ name: "ts2", version: "1" }, { versionNegotiation: { mode } });
await client.connect(transport);
const calls = new Map();

async function obey({ id, op, call, name, arguments: args, timeout, progress, reset }) {
  if (op === "cancel") {
    calls.get(call)?.abort("The user pressed Escape.");
    return;
  }
  try {
    if (op === "list") {
      const { tools } = await client.listTools();
      say({ id, result: tools.map((tool) => tool.name) });
      return;
    }
    const options = { signal: (calls.set(id, new AbortController()), calls.get(id).signal) };
    if (timeout) options.timeout = timeout * 1000;
    if (progress) options.onprogress = (note) => say({ id, progress: note });
    if (reset) options.resetTimeoutOnProgress = true;
    say({ id, result: await client.callTool({ name, arguments: args }, options) });
  } catch (error) {
    say({ id, error: `${error.name ?? "Error"}: ${error.message ?? error}` });
  }
}

say({ ready: client.getNegotiatedProtocolVersion() });
for await (const line of createInterface({ input: process.stdin })) obey(JSON.parse(line));
process.exit(0);
