// A client of the TypeScript SDK 1.x: node ts1_client.mjs URL TOKEN. Orders on stdin, what it saw
// on stdout, one JSON a line; conversation.py says which. Without `timeout`: the SDK's own 60 s.
import { createInterface } from "node:readline";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [url, token] = process.argv.slice(2);
const say = (seen) => process.stdout.write(`${JSON.stringify(seen)}\n`);

const transport = new StreamableHTTPClientTransport(new URL(url), {
  requestInit: { headers: { Authorization: `Bearer ${token}` } },
});
const client = new Client({ name: "ts1", version: "1" });
await client.connect(transport);

async function obey({ id, op, name, arguments: args, timeout, progress }) {
  try {
    if (op === "list") {
      const { tools } = await client.listTools();
      say({ id, result: tools.map((tool) => tool.name) });
      return;
    }
    const options = {};
    if (timeout) options.timeout = timeout * 1000;
    if (progress) options.onprogress = (note) => say({ id, progress: note });
    say({ id, result: await client.callTool({ name, arguments: args }, undefined, options) });
  } catch (error) {
    say({ id, error: `${error.name}: ${error.message}` });
  }
}

say({ ready: transport.protocolVersion });
for await (const line of createInterface({ input: process.stdin })) obey(JSON.parse(line));
process.exit(0);
