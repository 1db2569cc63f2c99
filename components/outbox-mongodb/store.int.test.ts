import { describeStore } from '../outbox/store-suite.ts'
import { mongodbUnderTest, withSettings } from '../outbox/testing.ts'

describeStore(mongodbUnderTest())
describeStore(withSettings(mongodbUnderTest(), { groupCommit: 'false' }), ' without group commit')
