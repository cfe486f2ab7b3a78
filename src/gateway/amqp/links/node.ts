// The topic behind an address: there already, or made for a peer that may make it.

import type { Authenticator, Principal } from '../../../access/auth.ts'
import type { TopicDefinition } from '../../../model/topic.ts'
import type { Broker } from '../../../port/broker.ts'

/** @throws BrokerError PERMISSION_DENIED, TOPIC_NOT_FOUND */
export async function ensureTopic(
  topic: string,
  broker: Broker,
  auth: Authenticator,
  principal: Principal,
): Promise<TopicDefinition> {
  const known = await broker.topics.get(topic)
  if (known !== undefined) return known
  auth.authorize(principal, 'create', { kind: 'topic', name: topic })
  return broker.topics.ensure(topic)
}
