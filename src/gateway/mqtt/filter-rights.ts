// What a filter of a SUBSCRIBE means to the broker, and whether a client may have it.
import { checkGroupName, isLightQueue } from '../../model/names.ts'
import { EVERY_TAG } from '../../model/tag-filter.ts'
import type { Principal } from '../access/auth.ts'
import { groupOfShare } from './address.ts'
import type { MqttParts } from './parts.ts'
import type { ShareSource } from './session/subscriptions.ts'

/** As a resource: granted by nothing less than a grant of everything. */
const EVERY_TOPIC = '*'

/** The group that the share means (R6): a native one, or one over the filter's own light queue. */
export function shareSource({ addresses }: MqttParts, share: string, filter: string): ShareSource {
  const group = groupOfShare(share)
  checkGroupName(group)
  const native = addresses.nativeShare(filter)
  return native === undefined
    ? { group, topic: '', filter: EVERY_TAG }
    : { group, topic: native.topic, filter: native.filter }
}

/**
 * A filter that may select several topics is checked again for each message. A group settles what
 * its member may not see, so a member of a group over all topics must be allowed to see them all.
 * @throws PERMISSION_DENIED
 */
export function authorizeFilter(
  { context: { auth }, addresses }: MqttParts,
  principal: Principal,
  filter: string,
  share: ShareSource | undefined,
): void {
  const isNative = share !== undefined && share.topic !== '' && !isLightQueue(share.topic)
  const selected = isNative ? share.topic : addresses.topicOfFilter(filter)
  const topic = share === undefined ? selected : (selected ?? EVERY_TOPIC)
  if (topic !== undefined) auth.authorize(principal, 'consume', { kind: 'topic', name: topic })
  if (share !== undefined) {
    auth.authorize(principal, 'consume', { kind: 'group', name: share.group })
  }
}
