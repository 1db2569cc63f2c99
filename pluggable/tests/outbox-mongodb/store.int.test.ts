import { describeStore } from '../store-suite.ts'
import { mongodbUnderTest, withSettings } from '../stores.ts'

describeStore(mongodbUnderTest())
describeStore(withSettings(mongodbUnderTest(), { groupCommit: 'false' }), ' without group commit')
