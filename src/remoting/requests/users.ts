// Users and rights of RocketMQ 5: AUTH_CREATE_USER to AUTH_LIST_USER (3001 to 3005),
// AUTH_CREATE_ACL to AUTH_LIST_ACL (3006 to 3010).
import { decoder, encoder, list, object, type Shape, type Shaped, string } from '../json/shape.ts'
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
const USER_INFO = object({
  username: string,
  password: string as Shape<string | undefined>,
  userType: string,
  userStatus: string,
})
export type UserInfo = Shaped<typeof USER_INFO>
export const decodeUser = decoder(USER_INFO)
export const encodeUser = encoder(USER_INFO)
export const encodeUsers = encoder(list(USER_INFO))

const POLICY = object({
  policyType: string,
  entries: list(
    object({
      resource: string,
      actions: list(string),
      // Always empty: entries for some addresses alone are refused.
      sourceIps: list(string),
      decision: string,
    }),
  ),
})

const ACL_INFO = object({ subject: string, policies: list(POLICY) })
export type AclInfo = Shaped<typeof ACL_INFO>
export const decodeAcl = decoder(ACL_INFO)
export const encodeAcl = encoder(ACL_INFO)
export const encodeAcls = encoder(list(ACL_INFO))
