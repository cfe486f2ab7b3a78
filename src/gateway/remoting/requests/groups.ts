// Consumer groups: definitions.
import { Slice } from '../../../clock.ts'
import { BrokerError } from '../../../errors.ts'
import type { GroupDefinition } from '../../../model/group.ts'
import { checkGroupName } from '../../../model/names.ts'
import { REQUEST, RESPONSE } from '../../../remoting/codes.ts'
import { readFields } from '../../../remoting/layout.ts'
import {
  DELETE_GROUP,
  decodeGroupUpdate,
  decodeGroupUpdates,
  encodeGroupConfig,
  encodeGroupTable,
  GROUP,
  type GroupUpdate,
  type UnfollowedGroupFields,
} from '../../../remoting/requests/groups.ts'
import { authorizePut, deleteGroup } from '../../admin/definitions.ts'
import { CLUSTER, groupResource } from '../address.ts'
import { alterGroup } from '../attributes.ts'
import { type Answer, answerBody, authorize, type Call, DONE, type RequestTable } from '../call.ts'
import { tableVersion } from '../table-version.ts'
import { together } from '../together.ts'

export const groupRequests: RequestTable = new Map([
  [REQUEST.updateGroup, updateGroup],
  [REQUEST.updateGroups, updateGroups],
  [REQUEST.deleteGroup, removeGroup],
  [REQUEST.getAllGroupConfig, allGroups],
  [REQUEST.getGroupConfig, groupConfig],
])

async function updateGroup(call: Call): Promise<Answer> {
  const wanted = await prepare(call, decodeGroupUpdate(call.body))
  if ('remark' in wanted) return wanted
  await call.context.broker.groups.put(wanted)
  // The retry topic comes with it.
  await call.context.routes?.told()
  return DONE
}

/** All of the list, or nothing where one of it is refused. */
async function updateGroups(call: Call): Promise<Answer> {
  const { groups } = call.context.broker
  const wanted: GroupDefinition[] = []
  for (const update of decodeGroupUpdates(call.body)) {
    const group = await prepare(call, update)
    if ('remark' in group) return group
    wanted.push(group)
  }
  await together(wanted, (group) => groups.put(group))
  await call.context.routes?.told()
  return DONE
}

/** The group as it is to be, or why it may not be so. @throws BrokerError */
async function prepare(
  call: Call,
  { group, attributes: changes, unfollowed }: GroupUpdate,
): Promise<GroupDefinition | { readonly code: number; readonly remark: string }> {
  const known = await call.context.broker.groups.get(group.name)
  // An update leaves those that it does not name as they were.
  const attributes = alterGroup(known && (known.attributes ?? {}), changes)
  const wanted = {
    ...group,
    ...(Object.keys(attributes).length > 0 && typeof attributes !== 'string' && { attributes }),
  }
  if (typeof attributes === 'string') {
    authorize(call, known === undefined ? 'create' : 'manage', groupResource(group.name))
    return { code: RESPONSE.systemError, remark: attributes }
  }
  authorizePut(call, groupResource(group.name), known, wanted)
  checkGroupName(group.name)
  checkFollowed(unfollowed)
  return wanted
}

/** @throws BrokerError ARGUMENT_INVALID: a field that is dropped in silence misleads */
function checkFollowed(unfollowed: UnfollowedGroupFields): void {
  const { hasRetryPolicy, hasSubscriptions } = unfollowed
  const refused = (text: string): BrokerError =>
    new BrokerError('ARGUMENT_INVALID', `groups of this broker have no ${text}`)
  if (hasRetryPolicy) {
    throw refused('groupRetryPolicy of their own: retries wait as long as the delay levels say')
  }
  if (hasSubscriptions) {
    throw refused(
      'subscriptionDataSet of their own: a group subscribes to what its members ask for',
    )
  }
}

async function removeGroup(call: Call): Promise<Answer> {
  const { groupName, cleanOffset } = readFields(DELETE_GROUP, call.fields)
  try {
    await deleteGroup(call, groupName, { keepOffsets: cleanOffset !== true })
  } catch (error) {
    if (BrokerError.from(error).code !== 'GROUP_NOT_FOUND') throw error
  }
  return DONE
}

async function allGroups(call: Call): Promise<Answer> {
  authorize(call, 'manage', CLUSTER)
  const { broker, clock } = call.context
  const version = tableVersion(await broker.status(), clock.now())
  return answerBody(await encodeGroupTable(version, await broker.groups.list(), new Slice(clock)))
}

async function groupConfig(call: Call): Promise<Answer> {
  const { group } = readFields(GROUP, call.fields)
  authorize(call, 'read', groupResource(group))
  const definition = await call.context.broker.groups.get(group)
  if (definition === undefined) throw groupMissing(group)
  return answerBody(encodeGroupConfig(definition))
}

const groupMissing = (group: string): BrokerError =>
  new BrokerError('GROUP_NOT_FOUND', `subscription group [${group}] does not exist`)
