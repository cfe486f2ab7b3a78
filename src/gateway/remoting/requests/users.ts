// Users that are made while the broker runs, and their rights.

import type { Account, GivenAccount } from '../../../access/accounts.ts'
import { type AclPolicy, policyOf } from '../../../access/acl.ts'
import { BrokerError } from '../../../errors.ts'
import { REQUEST } from '../../../remoting/codes.ts'
import { readFields } from '../../../remoting/layout.ts'
import {
  type AclInfo,
  DELETE_ACL,
  decodeAcl,
  decodeUser,
  encodeAcl,
  encodeAcls,
  encodeUser,
  encodeUsers,
  LIST_ACLS,
  LIST_USERS,
  SUBJECT,
  USER,
  type UserInfo,
} from '../../../remoting/requests/users.ts'
import { accountsOf } from '../../admin/users.ts'
import { type Answer, answerBody, type Call, DONE, type RequestTable, type Serve } from '../call.ts'

export const userRequests: RequestTable = new Map<number, Serve>([
  [REQUEST.createUser, createUser],
  [REQUEST.updateUser, updateUser],
  [REQUEST.deleteUser, deleteUser],
  [REQUEST.getUser, getUser],
  [REQUEST.listUsers, listUsers],
  [REQUEST.createAcl, putAcl],
  [REQUEST.updateAcl, putAcl],
  [REQUEST.deleteAcl, deleteAcl],
  [REQUEST.getAcl, getAcl],
  [REQUEST.listAcls, listAcls],
])

async function createUser(call: Call): Promise<Answer> {
  const accounts = accountsOf(call)
  const name = nameOf(readFields(USER, call.fields).username)
  await accounts.create(name, givenOf(decodeUser(call.body)))
  return DONE
}

async function updateUser(call: Call): Promise<Answer> {
  const accounts = accountsOf(call)
  const name = nameOf(readFields(USER, call.fields).username)
  await accounts.update(name, givenOf(decodeUser(call.body)))
  return DONE
}

async function deleteUser(call: Call): Promise<Answer> {
  const accounts = accountsOf(call)
  await accounts.delete(nameOf(readFields(USER, call.fields).username))
  return DONE
}

function getUser(call: Call): Answer {
  const users = usersOf(call)
  const name = nameOf(readFields(USER, call.fields).username)
  const user = users.find(({ username }) => username === name)
  return user === undefined ? DONE : answerBody(encodeUser(user))
}

/** Of none the empty list: RocketMQ's dashboard cannot read an answer without one. */
function listUsers(call: Call): Answer {
  const { filter = '' } = readFields(LIST_USERS, call.fields)
  const users = usersOf(call).filter(({ username }) => username.includes(filter))
  return answerBody(encodeUsers(users))
}

/** Both: create what is not there, and replace the entries of the same resources. */
async function putAcl(call: Call): Promise<Answer> {
  const accounts = accountsOf(call)
  const { policies } = decodeAcl(call.body)
  if (policies.length === 0) throw invalid('an ACL without policies')
  const given = policies.map(({ policyType, entries }) => policyOf(policyType, entries))
  await accounts.putPolicies(subjectOf(readFields(SUBJECT, call.fields).subject), given)
  return DONE
}

async function deleteAcl(call: Call): Promise<Answer> {
  const accounts = accountsOf(call)
  const { subject, policyType = '', resource = '' } = readFields(DELETE_ACL, call.fields)
  await accounts.deletePolicies(subjectOf(subject), policyType, resource)
  return DONE
}

function getAcl(call: Call): Answer {
  const users = usersOf(call)
  const name = subjectOf(readFields(SUBJECT, call.fields).subject)
  if (!users.some(({ username }) => username === name)) {
    throw new BrokerError('PERMISSION_DENIED', `there is no user '${name}'`)
  }
  const found = aclsOf(call).find(({ subject }) => subject === `${USER_PREFIX}${name}`)
  return found === undefined ? DONE : answerBody(encodeAcl(found))
}

function listAcls(call: Call): Answer {
  const { subjectFilter = '', resourceFilter = '' } = readFields(LIST_ACLS, call.fields)
  const acls = aclsOf(call).flatMap((acl): AclInfo[] => {
    if (!acl.subject.includes(subjectFilter)) return []
    const policies = acl.policies.flatMap(({ policyType, entries }) => {
      const left = entries.filter(({ resource }) => resource.includes(resourceFilter))
      return left.length === 0 ? [] : [{ policyType, entries: left }]
    })
    return policies.length === 0 ? [] : [{ ...acl, policies }]
  })
  return answerBody(encodeAcls(acls))
}

/** Secrets of the configuration stay there. */
function usersOf(call: Call): readonly UserInfo[] {
  const accounts = accountsOf(call)
  const configured = accounts.configured.map(({ name, admin }) => ({
    username: name,
    password: undefined,
    userType: admin ? 'Super' : 'Normal',
    userStatus: 'enable',
  }))
  return sortedBy(({ username }) => username, [...configured, ...accounts.list().map(userInfoOf)])
}

/** As Apache's broker lists them. */
const sortedBy = <T>(nameOf: (one: T) => string, all: readonly T[]): readonly T[] =>
  all.toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))

const userInfoOf = ({ name, secretKey, type, isEnabled }: Account): UserInfo => ({
  username: name,
  password: secretKey,
  userType: type,
  userStatus: isEnabled ? 'enable' : 'disable',
})

function aclsOf(call: Call): readonly AclInfo[] {
  const accounts = accountsOf(call)
  const all = sortedBy(({ name }) => name, [...accounts.configured, ...accounts.list()])
  return all.flatMap(({ name, policies }) =>
    policies.length === 0 ? [] : [aclInfoOf(name, policies)],
  )
}

const aclInfoOf = (name: string, policies: readonly AclPolicy[]): AclInfo => ({
  subject: `${USER_PREFIX}${name}`,
  policies: policies.map(({ policyType, entries }) => ({
    policyType,
    entries: entries.map((entry) => ({ ...entry, sourceIps: [] })),
  })),
})

function givenOf({ password, userType, userStatus }: UserInfo): GivenAccount {
  const isSuper = isEither(userType, 'Super', 'Normal')
  const isEnabled = isEither(userStatus, 'enable', 'disable')
  return {
    password: password || undefined,
    type: isSuper === undefined ? undefined : isSuper ? 'Super' : 'Normal',
    isEnabled,
  }
}

/** true: the first, false: the second, undefined: not given. */
function isEither(given: string, first: string, second: string): boolean | undefined {
  const word = given.toLowerCase()
  if (word === '') return undefined
  if (word === first.toLowerCase()) return true
  if (word === second.toLowerCase()) return false
  throw invalid(`'${given.slice(0, 40)}' is neither ${first} nor ${second}`)
}

const USER_PREFIX = 'User:'

function subjectOf(subject = ''): string {
  if (subject.startsWith(USER_PREFIX)) return nameOf(subject.slice(USER_PREFIX.length))
  throw invalid(`the subject '${subject.slice(0, 80)}' is no user: write ${USER_PREFIX}name`)
}

function nameOf(name = ''): string {
  if (name !== '') return name
  throw invalid('the user name is missing')
}

const invalid = (text: string): BrokerError => new BrokerError('ARGUMENT_INVALID', text)
