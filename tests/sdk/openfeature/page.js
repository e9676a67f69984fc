// Runs the OFREP web provider in a browser, on a page of another origin than the proxy, and tells what it sees.

import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';
import { OpenFeature, ProviderEvents } from '@openfeature/web-sdk';

const query = new URLSearchParams(location.search);
const client = OpenFeature.getClient();

function tell(event, flag = query.get('flag')) {
  const { value, reason, errorCode } = client.getBooleanDetails(flag, false);
  return fetch('/events', { method: 'POST', body: JSON.stringify({ event, value, reason, errorCode }) });
}

client.addHandler(ProviderEvents.ConfigurationChanged, () => tell('changed'));
client.addHandler(ProviderEvents.Error, () => tell('error'));
await OpenFeature.setContext({ targetingKey: 'customer', plan: 'free' });
try {
  const headers = [['X-API-Key', query.get('key')]];
  await OpenFeature.setProviderAndWait(new OFREPWebProvider({ baseUrl: query.get('proxy'), headers }));
  await tell('ready');
  await OpenFeature.setContext({ targetingKey: 'customer', plan: 'gold' });
  await tell('context');
} catch (error) {
  await tell('failed');
}
