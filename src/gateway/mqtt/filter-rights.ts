// What a filter of a SUBSCRIBE means to the broker, and whether a client may have it.

import type { Principal } from '../../access/auth.ts'
import { BrokerError } from '../../errors.ts'
import { checkGroupName, isLightQueue, lightQueueTopic } from '../../model/names.ts'
import { EVERY_TAG } from '../../model/tag-filter.ts'
import type { GatewayContext } from '../../port/gateway.ts'
import { groupOfShare, lookingGroup, namedGroup } from './address.ts'
import type { MqttParts } from './parts.ts'
import type { ShareSource } from './session/subscriptions.ts'

/** As a resource: granted by nothing less than a grant of everything. */
const EVERY_TOPIC = '*'

/**
 * The group that the share means (R6): a native one, or one over the filter's own light queue, or
 * where there are none one over the filter's topic, whose members look at each message. A group
 * whose members came before the topic was made stays with the filter, which selects the topic's
 * messages as well: else each of these would come to older and to later members.
 * @throws NOT_SUPPORTED, NAME_INVALID
 */
export async function shareSource(
  parts: MqttParts,
  share: string,
  filter: string,
): Promise<ShareSource> {
  const { addresses, context } = parts
  const named = groupOfShare(share)
  checkGroupName(named)
  const native = addresses.nativeShare(filter)
  const hasQueues = context.broker.lightQueues !== undefined
  if (native !== undefined && !(hasQueues && (await isOnFilter(parts, named, filter)))) {
    return { group: named, ...native }
  }
  if (hasQueues) return { group: named, topic: '', filter: EVERY_TAG }
  const looked = addresses.lookedShare(filter)
  const group = lookingGroup(named, filter)
  checkGroupName(group)
  if (looked !== undefined) return { group, ...looked }
  throw new BrokerError(
    'NOT_SUPPORTED',
    `'${filter}' may select messages of any topic: before a cluster no group can share them`,
  )
}

/** Not where native members are in the group, which read the topic. */
async function isOnFilter(
  { context: { broker } }: MqttParts,
  group: string,
  filter: string,
): Promise<boolean> {
  const { brokerName } = broker.identity
  const topic = lightQueueTopic(filter)
  const place = await broker.cursors.committed(group, { topic, brokerName, queueId: 0 })
  if (place === undefined) return false
  const may = broker.groups.checkReceiving(group, topic, EVERY_TAG)
  return may.then(
    () => true,
    () => false,
  )
}

/**
 * A filter that may select several topics is checked again for each message. A group settles what
 * its member may not see, so a member of a group over all topics must be allowed to see them all.
 * @throws PERMISSION_DENIED
 */
export function authorizeFilter(
  {
    context: { auth },
    addresses,
  }: Pick<MqttParts, 'addresses'> & { readonly context: Pick<GatewayContext, 'auth'> },
  principal: Principal,
  filter: string,
  share?: ShareSource,
): void {
  const isNative = share !== undefined && share.topic !== '' && !isLightQueue(share.topic)
  const selected = isNative ? share.topic : addresses.topicOfFilter(filter)
  const topic = share === undefined ? selected : (selected ?? EVERY_TOPIC)
  if (topic !== undefined) auth.authorize(principal, 'consume', { kind: 'topic', name: topic })
  if (share !== undefined) {
    auth.authorize(principal, 'consume', { kind: 'group', name: namedGroup(share.group) })
  }
}
