// Topics and groups as administrators make, change and delete them, by whichever protocol: what it
// takes the right to do, and what goes with it.
import { isDeepStrictEqual } from 'node:util'
import type { Principal, Resource } from '../../access/auth.ts'
import { BrokerError } from '../../errors.ts'
import type { GroupDefinition } from '../../model/group.ts'
import { checkGroupName, checkTopicName, isSystemTopic, topicOfWire } from '../../model/names.ts'
import type { TopicDefinition } from '../../model/topic.ts'
import type { GatewayContext } from '../../port/gateway.ts'
import { dropRequestModes } from './request-modes.ts'

/** The user that administers, and what it administers. */
export interface Administrator {
  readonly principal: Principal
  readonly context: Pick<GatewayContext, 'broker' | 'auth' | 'routes'>
}

/**
 * To create is not to change: what is there already belongs to all its users.
 * @throws BrokerError PERMISSION_DENIED
 */
export function authorizePut(
  { context, principal }: Administrator,
  resource: Resource,
  known: object | undefined,
  wanted: object,
): void {
  const action = known === undefined || isDeepStrictEqual(known, wanted) ? 'create' : 'manage'
  context.auth.authorize(principal, action, resource)
}

/**
 * Settles when name servers know it: the next that its maker asks may be a name server.
 * @throws BrokerError
 */
export async function putTopic(by: Administrator, wanted: TopicDefinition): Promise<void> {
  const { broker, routes } = by.context
  const { name } = wanted
  authorizePut(by, { kind: 'topic', name }, await broker.topics.get(name), wanted)
  checkTopicName(name)
  await broker.topics.put(wanted)
  await routes?.told()
}

/** With its messages. @throws BrokerError TOPIC_NOT_FOUND, PERMISSION_DENIED */
export async function deleteTopic(
  { context, principal }: Administrator,
  name: string,
): Promise<void> {
  context.auth.authorize(principal, 'delete', { kind: 'topic', name })
  if (isSystemTopic(name)) {
    throw new BrokerError('PERMISSION_DENIED', `the system topic '${name}' may not be deleted`)
  }
  try {
    await context.broker.topics.delete(topicOfWire(name))
  } finally {
    await dropRequestModes(context.broker, { topic: name })
    await context.routes?.told()
  }
}

/** @throws BrokerError */
export async function putGroup(by: Administrator, wanted: GroupDefinition): Promise<void> {
  const { groups } = by.context.broker
  const { name } = wanted
  authorizePut(by, { kind: 'group', name }, await groups.get(name), wanted)
  checkGroupName(name)
  await groups.put(wanted)
}

/** @throws BrokerError GROUP_NOT_FOUND, PERMISSION_DENIED */
export async function deleteGroup(
  { context, principal }: Administrator,
  name: string,
  options: { readonly keepOffsets: boolean },
): Promise<void> {
  context.auth.authorize(principal, 'delete', { kind: 'group', name })
  try {
    await context.broker.groups.delete(name, options)
  } finally {
    await dropRequestModes(context.broker, { group: name })
  }
}
