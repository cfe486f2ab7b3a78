// Consumer groups: definitions.
import { isDeepStrictEqual } from 'node:util'
import { Slice } from '../../../clock.ts'
import { BrokerError } from '../../../errors.ts'
import { checkGroupName } from '../../../model/names.ts'
import { REQUEST } from '../../../remoting/codes.ts'
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
import { CLUSTER, groupResource } from '../address.ts'
import { type Answer, answerBody, authorize, type Call, DONE, type RequestTable } from '../call.ts'
import { tableVersion } from '../table-version.ts'
import { together } from '../together.ts'

export const groupRequests: RequestTable = new Map([
  [REQUEST.updateGroup, updateGroup],
  [REQUEST.updateGroups, updateGroups],
  [REQUEST.deleteGroup, deleteGroup],
  [REQUEST.getAllGroupConfig, allGroups],
  [REQUEST.getGroupConfig, groupConfig],
])

async function updateGroup(call: Call): Promise<Answer> {
  const update = decodeGroupUpdate(call.body)
  await check(call, update)
  await call.context.broker.groups.put(update.group)
  return DONE
}

/** All of the list, or nothing where one of it is refused. */
async function updateGroups(call: Call): Promise<Answer> {
  const { groups } = call.context.broker
  const updates = decodeGroupUpdates(call.body)
  for (const update of updates) await check(call, update)
  await together(updates, ({ group }) => groups.put(group))
  return DONE
}

/** @throws BrokerError when the group may not be made so */
async function check(call: Call, { group, unfollowed }: GroupUpdate): Promise<void> {
  const known = await call.context.broker.groups.get(group.name)
  // To create is not to change: a group that is there already belongs to all its consumers.
  const action = known === undefined || isDeepStrictEqual(known, group) ? 'create' : 'manage'
  authorize(call, action, groupResource(group.name))
  checkGroupName(group.name)
  checkFollowed(unfollowed)
}

/** @throws BrokerError ARGUMENT_INVALID: a field that is dropped in silence misleads */
function checkFollowed(unfollowed: UnfollowedGroupFields): void {
  const { attributes, hasRetryPolicy, hasSubscriptions } = unfollowed
  const refused = (text: string): BrokerError =>
    new BrokerError('ARGUMENT_INVALID', `groups of this broker have no ${text}`)
  const [first] = attributes
  if (first !== undefined) {
    throw refused(`attribute '${first.slice(0, 80)}', and no other either`)
  }
  if (hasRetryPolicy) {
    throw refused('groupRetryPolicy of their own: retries wait as long as the delay levels say')
  }
  if (hasSubscriptions) {
    throw refused(
      'subscriptionDataSet of their own: a group subscribes to what its members ask for',
    )
  }
}

async function deleteGroup(call: Call): Promise<Answer> {
  const { groupName, cleanOffset } = readFields(DELETE_GROUP, call.fields)
  authorize(call, 'delete', groupResource(groupName))
  try {
    await call.context.broker.groups.delete(groupName, { keepOffsets: cleanOffset !== true })
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
