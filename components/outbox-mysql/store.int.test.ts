import { describeStore } from '../outbox/store-suite.ts'
import { mysqlUnderTest, withSettings } from '../outbox/testing.ts'

describeStore(mysqlUnderTest())
describeStore(withSettings(mysqlUnderTest(), { groupCommit: 'false' }), ' without group commit')
