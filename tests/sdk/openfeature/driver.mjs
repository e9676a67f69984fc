// Asks the OFREP provider for Node.js: JSON lines in, JSON lines out (see tests/sdk/README.md).

import { createInterface } from 'node:readline';

import { OFREPProvider } from '@openfeature/ofrep-provider';
import { OpenFeature } from '@openfeature/server-sdk';

const CALLS = {
  boolean: 'getBooleanDetails',
  string: 'getStringDetails',
  integer: 'getNumberDetails',
  float: 'getNumberDetails',
  object: 'getObjectDetails',
};

const [baseUrl, key] = process.argv.slice(2);
await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl, headers: [['X-API-Key', key]] }));
const client = OpenFeature.getClient();

for await (const line of createInterface({ input: process.stdin })) {
  const { kind, flag, fallback, context } = JSON.parse(line);
  const { value, reason, variant, errorCode } = await client[CALLS[kind]](flag, fallback, context);
  process.stdout.write(JSON.stringify({ value, reason, variant, errorCode }) + '\n');
}
