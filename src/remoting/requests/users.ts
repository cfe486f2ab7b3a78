// Users and rights of RocketMQ 5: AUTH_CREATE_USER to AUTH_LIST_USER (3001 to 3005),
// AUTH_CREATE_ACL to AUTH_LIST_ACL (3006 to 3010).
import { jsonBody } from '../json/json-emitter.ts'
import { objectsAt, parseObject, textAt, textsAt } from '../json/json-members.ts'
import { layout, optional, text } from '../layout.ts'

/** Clients send the name even where it is empty; tools leave out what they were not given. */
export const USER = layout({ username: optional(text) })
export const LIST_USERS = layout({ filter: optional(text) })
export const SUBJECT = layout({ subject: optional(text) })
export const DELETE_ACL = layout({
  subject: optional(text),
  policyType: optional(text),
  resource: optional(text),
})
export const LIST_ACLS = layout({ subjectFilter: optional(text), resourceFilter: optional(text) })

/** Absent members are empty texts when read, and left out when written. */
export interface UserInfo {
  readonly username: string
  readonly password?: string | undefined
  readonly userType: string
  readonly userStatus: string
}

export interface PolicyInfo {
  readonly policyType: string
  readonly entries: readonly {
    readonly resource: string
    readonly actions: readonly string[]
    readonly sourceIps: readonly string[]
    readonly decision: string
  }[]
}

export interface AclInfo {
  readonly subject: string
  readonly policies: readonly PolicyInfo[]
}

export function decodeUser(body: Buffer): UserInfo {
  const map = parseObject(body)
  return {
    username: textAt(map, 'username'),
    password: textAt(map, 'password'),
    userType: textAt(map, 'userType'),
    userStatus: textAt(map, 'userStatus'),
  }
}

const userOut = ({ username, password, userType, userStatus }: UserInfo) => ({
  ...(password !== undefined && { password }),
  userStatus,
  userType,
  username,
})

export const encodeUser = (user: UserInfo): Buffer => jsonBody(userOut(user))
export const encodeUsers = (users: readonly UserInfo[]): Buffer => jsonBody(users.map(userOut))

export function decodeAcl(body: Buffer): AclInfo {
  const map = parseObject(body)
  const policies = objectsAt(map, 'policies').map((policy) => ({
    policyType: textAt(policy, 'policyType'),
    entries: objectsAt(policy, 'entries').map((entry) => ({
      resource: textAt(entry, 'resource'),
      actions: textsAt(entry, 'actions'),
      sourceIps: textsAt(entry, 'sourceIps'),
      decision: textAt(entry, 'decision'),
    })),
  }))
  return { subject: textAt(map, 'subject'), policies }
}

const aclOut = ({ subject, policies }: AclInfo) => ({
  policies: policies.map(({ policyType, entries }) => ({
    entries: entries.map(({ resource, actions, decision }) => ({
      actions: [...actions],
      decision,
      resource,
    })),
    policyType,
  })),
  subject,
})

export const encodeAcl = (acl: AclInfo): Buffer => jsonBody(aclOut(acl))
export const encodeAcls = (acls: readonly AclInfo[]): Buffer => jsonBody(acls.map(aclOut))
